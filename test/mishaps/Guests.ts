/**
 * Guests that are not what they should be: the real kernel, told to go wrong, or with another first program.
 *
 *     panicking   its kernel gives up as soon as a build runs out of memory, and starts again
 *     hanging     the same, but it stays where it is: no word of it comes any more, and QEMU goes on
 *     lying       its first program is no executor: it says that it is ready, and later whatever chance says
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Frame from "../../src/sandbox/executor/Frame.ts"
import type { Guest } from "../../src/sandbox/microvm/Guest.ts"

export type Nature = "sound" | "panicking" | "hanging" | "lying"

interface Entry {
  readonly name: string
  readonly type: "file"
  readonly mode: number
  readonly contents: Uint8Array
}

// The bootstrap is plain JavaScript, and so has no types to import.
const load = (name: string) => {
  const module = `../../bootstrap/guest/${name}`
  return import(module)
}
const { cpio }: { readonly cpio: (entries: ReadonlyArray<Entry>) => Buffer } = await load("cpio.mjs")

/** Words that its kernel takes after its own, of which the last count. */
const words: { readonly [N in Nature]: string } = {
  sound: "",
  panicking: "sysctl.vm.panic_on_oom=2",
  hanging: "sysctl.vm.panic_on_oom=2 panic=0",
  lying: "rdinit=/liar"
}

const octal = (bytes: Uint8Array) => [...bytes].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("")

const said = (type: number, payload: Uint8Array) => {
  const header = Buffer.alloc(Frame.headerBytes)
  header[0] = type
  header.writeUInt32LE(payload.length, 1)
  return octal(Buffer.concat([header, payload]))
}

const version = Buffer.alloc(4)
version.writeUInt32LE(Frame.version)

/** As the executor begins; then a log that is one, and at some time bytes out of nowhere. */
const liar = (milliseconds: number) => `#!/busybox sh
/busybox mount -t devtmpfs none /dev
while read -r module; do /busybox insmod "/modules/$module"; done < /modules/order
while :; do
  for port in /dev/vport*; do [ -e "$port" ] && break 2; done
  /busybox usleep 1000
done
exec 3<>"$port"
printf '${said(0x89, Buffer.alloc(0))}${said(0x81, version)}' >&3
/busybox cat <&3 > /dev/null &
printf '${said(0x82, Buffer.from("ready\n"))}' >&3
/busybox usleep ${milliseconds * 1000}
while :; do /busybox cat /dev/urandom >&3; done
`

/** A guest of this nature, made of the sound one in a directory of its own. `milliseconds`: for how long a liar waits. */
export const make = (
  sound: Guest,
  nature: Nature,
  {
    busybox,
    directory,
    milliseconds
  }: {
    readonly busybox: string
    readonly directory: string
    readonly milliseconds: number
  }
): Guest => {
  if (nature === "sound") return sound
  fs.copyFileSync(path.join(sound.directory, "kernel"), path.join(directory, "kernel"), fs.constants.COPYFILE_FICLONE)
  const initramfs = fs.readFileSync(path.join(sound.directory, "initramfs.cpio"))
  const more = [
    { name: "busybox", type: "file", mode: 0o755, contents: fs.readFileSync(busybox) },
    { name: "liar", type: "file", mode: 0o755, contents: Buffer.from(liar(milliseconds)) }
  ] as const
  // The kernel unpacks one after the other.
  const composed = nature === "lying" ? Buffer.concat([initramfs, cpio(more)]) : initramfs
  fs.writeFileSync(path.join(directory, "initramfs.cpio"), composed)
  return { ...sound, directory, hash: nature, commandLine: `${sound.commandLine} ${words[nature]}` }
}
