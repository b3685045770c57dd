/** Bytes cut into pieces of the given lengths, again and again to their end; in one piece when there are none. */
export const pieces = (bytes: Uint8Array, lengths: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const found: Array<Uint8Array> = []
  for (let offset = 0, index = 0; offset < bytes.length; index++) {
    const end = offset + (lengths[index % lengths.length] ?? bytes.length)
    found.push(bytes.subarray(offset, end))
    offset = end
  }
  return found
}
