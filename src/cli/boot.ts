import { readFileSync } from 'node:fs'
import { launchVM } from '../launch/launch.js'
import type { VM } from '../vm/vm.js'
import { type GuestFlags, readGuestFlags } from './guest-options.js'

export interface BootFlags extends GuestFlags {
  readonly console?: boolean
}

/** Ctrl-] as in telnet and `virsh console`: no program in a guest has a use for it. */
const ESCAPE = 0x1d

/** Boots a guest and gives its terminal to the person: a shell over SSH, or the serial console. */
export async function bootInteractive(image: string, flags: BootFlags): Promise<number> {
  const options = readGuestFlags(image, flags, (path) => readFileSync(path, 'utf8'))
  const say = flags.quiet === true ? () => {} : (line: string) => process.stderr.write(`withvm: ${line}\n`)
  if (flags.console === true) {
    await using vm = await launchVM({ ...options, ssh: false, ready: 'none' })
    say(`the serial console of '${vm.name}'; Ctrl-] ends it and throws the guest away.`)
    return await attachConsole(vm)
  }
  await using vm = await launchVM(options)
  say(
    `a shell in '${vm.name}'; the guest is thrown away when it ends. Another one: ${vm.sshCommandLine ?? 'not with this key'}`,
  )
  return await attachShell(vm)
}

async function attachShell(vm: VM): Promise<number> {
  const { stdin, stdout } = process
  // A terminal that does not know its size says 0.
  const size = () => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 })
  const shell = await vm.ssh.shell({ ...size(), term: process.env.TERM })
  const onResize = () => shell.resize(size().columns, size().rows)
  stdout.on('resize', onResize)
  const restore = rawMode()
  stdin.pipe(shell.stream)
  shell.stream.pipe(stdout, { end: false })
  try {
    const { exitCode } = await Promise.race([shell.ended, vm.wait().then(() => ({ exitCode: 0 }))])
    return exitCode ?? 0
  } finally {
    stdout.off('resize', onResize)
    stdin.unpipe(shell.stream)
    restore()
  }
}

async function attachConsole(vm: VM): Promise<number> {
  const { stdin, stdout } = process
  stdout.write(vm.serial.text)
  const stop = vm.serial.onText((text) => stdout.write(text))
  const restore = rawMode()
  const escaped = new Promise<void>((resolve) => {
    stdin.on('data', (bytes: Buffer) => {
      const at = bytes.indexOf(ESCAPE)
      const typed = at === -1 ? bytes : bytes.subarray(0, at)
      if (typed.length > 0) vm.serial.write(typed).catch(() => {})
      if (at !== -1) resolve()
    })
    stdin.once('end', resolve)
  })
  try {
    await Promise.race([escaped, vm.wait()])
    return 0
  } finally {
    stop()
    restore()
  }
}

/** Gives every key to the guest, Ctrl-C too. Gives what takes that back. */
function rawMode(): () => void {
  const { stdin } = process
  if (stdin.isTTY) stdin.setRawMode(true)
  stdin.resume()
  return () => {
    if (stdin.isTTY) stdin.setRawMode(false)
    stdin.pause()
    stdin.removeAllListeners('data')
  }
}
