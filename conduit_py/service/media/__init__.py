"""The content repository: uploads, downloads, thumbnails, and how long all of it is kept.

Content is stored once, in a file named by its SHA-256 (``files``). Rows say which media and thumbnails a file is the
content of; those rows are its references. The order of events keeps two promises:

- *A row never exists without its file.* An upload is written to ``incoming/``, synced, renamed to its place, the
  directory synced, and only then does the row land; the reply comes last. A removal lets the row go first.
- *A file without a row does not stay.* What a crash leaves in ``incoming/`` goes at the next start; a file in its
  place that has no row goes with the daily walk (``retention``), a day after it was written.

Whoever adds or removes the row of a file holds the file's lock (``files.file_key``) until its batch has landed and the
disk is as the rows say. ``removal`` explains how a medium goes.

Media of other servers come the same way when somebody asks for them (``remote``), each fetched once however many ask.

Everything that waits for the disk runs in a thread (``blocking``), and so does Pillow (``thumbnailing``), one image at
a time. An upload takes ``files.CHUNK_BYTES`` of memory, a download as much.

Spec: client-server-api/#content-repository

Decisions:

- Hostile images are met with limits on format, pixels, scans and time and not with a process of their own: starting
  one takes longer than most thumbnails. What would change our mind: a decoder that can be made to crash.
- Whoever asks for another server's file waits until it is stored: what is passed on while it comes cannot be taken back
  when it breaks off. What would change our mind: people who wait long for videos.
- The last access of a file is written to the hour, so a download costs no write.
"""
