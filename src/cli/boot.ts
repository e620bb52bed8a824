import { readFileSync } from 'node:fs'
import { launchVM } from '../launch/launch.js'
import type { VM } from '../vm/guest/vm.js'
import { type GuestFlags, readGuestFlags } from './guest-options.js'
import { attachKeys, attachShell, readTerminal } from './terminal.js'

export interface BootFlags extends GuestFlags {
  readonly console?: boolean
}

/** Boots a guest and gives its terminal to the person: a shell over SSH, or the serial console. */
export async function bootInteractive(image: string | undefined, flags: BootFlags): Promise<number> {
  const options = readGuestFlags(image, flags, (path) => readFileSync(path, 'utf8'))
  const say = flags.quiet === true ? () => {} : (line: string) => process.stderr.write(`withvm: ${line}\n`)
  if (flags.console === true) {
    await using vm = await launchVM({ ...options, ssh: false, ready: 'none' })
    say(`the serial console of '${vm.name}'; Ctrl-] ends it and throws the guest away.`)
    await attachConsole(vm)
    return 0
  }
  await using vm = await launchVM(options)
  say(
    `a shell in '${vm.name}'; the guest is thrown away when it ends. Another one: ${vm.sshCommandLine ?? 'not with this key'}`,
  )
  return await attachShell(await vm.ssh.shell(readTerminal()), vm.wait())
}

async function attachConsole(vm: VM): Promise<void> {
  const { stdout } = process
  stdout.write(vm.serial.text)
  const stop = vm.serial.onText((text) => stdout.write(text))
  await attachKeys((bytes) => vm.serial.write(bytes).catch(() => {}), vm.wait())
  stop()
}
