import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { assembleSyscallProgram, type Syscall } from '../../images/guest-parts/syscall-program.js'
import { type CpioEntry, packCpio } from '../../src/archive/cpio.js'
import { resolveImage } from '../../src/image/resolve-image.js'

/** x86-64 numbers of system calls (arch/x86/entry/syscalls/syscall_64.tbl). */
const SYS = { write: 1, pause: 34, reboot: 169 } as const
/** linux/reboot.h */
const REBOOT = {
  magic1: 0xfee1dead,
  magic2: 672274793,
  restart: 0x01234567,
  halt: 0xcdef0123,
  powerOff: 0x4321fedc,
}

export const print = (text: string): Syscall => {
  const bytes = Buffer.from(`${text}\n`)
  return { number: SYS.write, args: [1, bytes, bytes.length] }
}
export const sleepForever: Syscall = { number: SYS.pause, args: [] }
export const reboot = (what: 'restart' | 'halt' | 'powerOff'): Syscall => ({
  number: SYS.reboot,
  args: [REBOOT.magic1, REBOOT.magic2, REBOOT[what], 0],
})

/** Returns the options of a guest with a real kernel, whose only process runs `program`. Its end makes the kernel panic. */
export async function brokenGuest(folder: string, program: readonly Syscall[]) {
  return guestOfInitrd(folder, [{ path: 'init', mode: 0o100755, content: assembleSyscallProgram(program) }])
}

/** Returns the options of a guest with a real kernel, whose initrd contains only these files and a console. */
export async function guestOfInitrd(folder: string, entries: readonly CpioEntry[]) {
  const initrd = join(folder, 'initrd')
  const console: readonly CpioEntry[] = [
    { path: 'dev', mode: 0o040755 },
    { path: 'dev/console', mode: 0o020600, device: { major: 5, minor: 1 } },
  ]
  await writeFile(initrd, packCpio([...console, ...entries]))
  return {
    kernel: await tinyKernel(),
    initrd,
    append: 'console=ttyS0 quiet panic=0',
    memory: '128M',
  } as const
}

export async function tinyKernel(): Promise<string> {
  const { directBoot } = await resolveImage('tiny')
  if (directBoot === undefined) throw new Error('tiny boots its kernel directly')
  return directBoot.kernel
}
