import { readFileSync } from 'node:fs'
import { logToStderr } from '../common/log.js'
import { launchVM } from '../launch/launch.js'
import type { VM } from '../vm/guest/vm.js'
import { type GuestFlags, readGuestFlags } from './guest-options.js'
import { attachKeys, attachShell, readTerminal } from './guests/terminal.js'

export interface BootFlags extends GuestFlags {
  readonly console?: boolean
}

/** Boots a guest and attaches the user's terminal to a shell over SSH, or to the serial console. */
export async function bootInteractive(image: string | undefined, flags: BootFlags): Promise<number> {
  const options = readGuestFlags(image, flags, (path) => readFileSync(path, 'utf8'))
  const log = flags.quiet === true ? () => {} : logToStderr
  if (flags.console === true) {
    await using vm = await launchVM({ ...options, ssh: false, ready: 'none' })
    log(`serial console of '${vm.id}'. Press Ctrl-] to exit and discard the guest.`)
    await attachConsole(vm)
    return 0
  }
  await using vm = await launchVM(options)
  log(
    `shell in '${vm.id}'. The guest is discarded when the shell exits. Command for another shell: ${vm.sshCommandLine ?? 'not available with this key'}`,
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
