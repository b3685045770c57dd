/** What is to be known of a NAR before a disk can show it, from the listing that the store has of it. */
import * as zlib from "node:zlib"
import { parseJson } from "../../protocol/nar/Listing.ts"
import { WireError } from "../../protocol/wire/Codec.ts"
import * as NarImage from "./NarImage.ts"

/** The text of one listing: a NAR's files are bounded, and so is this. */
const listingBytesMax = 512 * 1024 * 1024

/** What it contributes to images; else, in words, what is wrong with the listing. */
export const learn = (listing: Uint8Array): NarImage.NarImage | string => {
  try {
    const text = zlib.inflateRawSync(listing, { maxOutputLength: listingBytesMax }).toString()
    const parsed = parseJson(text)
    return parsed instanceof WireError ? parsed.message : NarImage.compose(parsed)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
