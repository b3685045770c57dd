/**
 * The machines that builds run in, by architecture: what Debian calls it, what compiles for it, how its kernel is told
 * to boot.
 *
 * On the command lines: no console before the port but one line for a panic; no tests of ciphers, no certificates and no
 * tracing, which an emulated machine spends most of its boot on; a panic ends the machine, since QEMU does not restart it.
 * The kernel is not hardened against its own build, which has the machine to itself and finds no secret in it.
 */

const common =
  "reboot=t panic=-1 oops=panic quiet nokaslr mitigations=off random.trust_cpu=on cryptomgr.notests init_on_alloc=0 " +
  "rcupdate.rcu_expedited=1 initcall_blacklist=load_system_certificate_list,init_blk_tracer,init_kprobe_trace,blacklist_init"

export const architectures = {
  x86_64: {
    node: "x64",
    debian: "amd64",
    compiler: "x86_64-linux-gnu-gcc",
    compilerPackages: ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
    headers: "/usr/x86_64-linux-gnu/include/stdio.h",
    emulator: { program: "qemu-system-x86_64", package: "qemu-system-x86" },
    commandLine: `console=ttyS0 ${common} tsc=reliable no_timer_check 8250.nr_uarts=1`
  },
  aarch64: {
    node: "arm64",
    debian: "arm64",
    compiler: "aarch64-linux-gnu-gcc",
    compilerPackages: ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
    headers: "/usr/aarch64-linux-gnu/include/stdio.h",
    emulator: { program: "qemu-system-aarch64", package: "qemu-system-arm" },
    commandLine: `console=ttyAMA0 ${common}`
  }
}

export const isOwn = (arch) => architectures[arch].node === process.arch
