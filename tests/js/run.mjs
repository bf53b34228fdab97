// node run.mjs STORY BASE_URL REPORT: plays one story of stories/ against a server and writes to the file REPORT how it
// ended, as JSON: {"story", "steps": [...], "error": null or a text}.
import { writeFileSync } from "node:fs";
import { World } from "./world.mjs";

const [story, baseUrl, report] = process.argv.slice(2);
const world = new World(story, baseUrl);
let error = null;
try {
    const { default: play } = await import(`./stories/${story}.mjs`);
    await play(world);
} catch (thrown) {
    error = String(thrown?.stack ?? thrown);
}
world.close();
writeFileSync(report, JSON.stringify({ story, steps: world.steps, error }));
process.exit(0);
