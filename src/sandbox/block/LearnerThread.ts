/** The thread of a learner: takes one listing after the other, and answers each. See Learner.ts. */
import { parentPort } from "node:worker_threads"
import { learn } from "./Learning.ts"

parentPort?.on("message", (listing: Uint8Array) => {
  const learned = learn(listing)
  if (typeof learned === "string") return parentPort?.postMessage(learned)
  // Handed over, and not copied: it may be some hundred megabytes. No two of these arrays share their memory.
  const { extents, fileWords, metadata, metadataWords, parentWords, slotWords } = learned
  const arrays = [metadata, slotWords, metadataWords, fileWords, parentWords, ...Object.values(extents)]
  parentPort?.postMessage(
    learned,
    arrays.map(({ buffer }) => buffer as ArrayBuffer)
  )
})
