"""What can be wrong with media."""

from __future__ import annotations

from kvschema.catalog import media
from kvschema.catalog.rooms import ShortUserId
from tests.data.planting import NOBODY, Planter, Plants

PLANTS = Plants()


@PLANTS.add("servernamemediaid_metadata: ByMxc(* is the file *, which there is not")
def a_medium_without_a_file(planter: Planter) -> None:
    _, row = planter.first(media.MXC_MEDIA)
    planter.batch.delete(media.FILE_METADATA, media.ByFile(row.file_hash))


@PLANTS.add("servernamemediaid_metadata: ByMxc(* is of user 77")
def a_medium_of_nobody(planter: Planter) -> None:
    key, row = planter.first(media.MXC_MEDIA)
    planter.put(media.MXC_MEDIA, key, row._replace(user=NOBODY))


@PLANTS.add("filehash_servername_mediaid: FileMedia(* is missing")
def a_file_that_forgot_what_it_is(planter: Planter) -> None:
    planter.drop_first(media.FILE_MEDIA)


@PLANTS.add("filehash_servername_mediaid: FileMedia(* follows from nothing")
def a_file_kept_by_a_medium_that_is_gone(planter: Planter) -> None:
    planter.drop_first(media.MXC_MEDIA)


@PLANTS.add("filehash_metadata: * was used before it was there")
def a_file_from_the_future(planter: Planter) -> None:
    key, row = planter.first(media.FILE_METADATA)
    planter.put(media.FILE_METADATA, key, row._replace(created_ms=row.accessed_ms + 1))


@PLANTS.add("accessedms_filehash: AccessFile(* is missing")
def a_file_that_no_sweep_finds(planter: Planter) -> None:
    planter.drop_first(media.ACCESS_FILE)


@PLANTS.add("accessedms_filehash: AccessFile(* follows from nothing")
def a_file_that_is_swept_twice(planter: Planter) -> None:
    key, _ = planter.first(media.ACCESS_FILE)
    planter.put(media.ACCESS_FILE, key._replace(accessed_ms=NOBODY), None)


@PLANTS.add("thumbnailid_metadata: ThumbnailId(* is of a medium that there is not")
def a_thumbnail_of_nothing(planter: Planter) -> None:
    key, row = planter.first(media.THUMBNAIL)
    planter.put(media.THUMBNAIL, key._replace(media_id="nothing"), row)


@PLANTS.add("thumbnailid_metadata: ThumbnailId(* is the file *, which there is not")
def a_thumbnail_without_a_file(planter: Planter) -> None:
    key, row = planter.first(media.THUMBNAIL)
    planter.put(media.THUMBNAIL, key, row._replace(file_hash=bytes(32)))


@PLANTS.add("filehash_thumbnailid: FileThumbnail(* is missing")
def a_thumbnail_whose_file_may_go(planter: Planter) -> None:
    planter.drop_first(media.FILE_THUMBNAIL)


@PLANTS.add("filehash_thumbnailid: FileThumbnail(* follows from nothing")
def a_file_kept_by_a_thumbnail_that_is_gone(planter: Planter) -> None:
    planter.drop_first(media.THUMBNAIL)


@PLANTS.add("mediaid_pending: * waits for user 77")
def an_id_that_waits_for_nobody(planter: Planter) -> None:
    key, row = planter.first(media.PENDING_MEDIA)
    planter.put(media.PENDING_MEDIA, key, row._replace(user=ShortUserId(NOBODY)))


@PLANTS.add("userid_pendingmediaid: UserMedia(* is missing")
def an_id_that_does_not_count(planter: Planter) -> None:
    planter.drop_first(media.USER_PENDING)


@PLANTS.add("userid_pendingmediaid: UserMedia(* follows from nothing")
def an_id_that_counts_for_ever(planter: Planter) -> None:
    planter.drop_first(media.PENDING_MEDIA)
