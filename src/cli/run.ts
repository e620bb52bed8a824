import { readFileSync } from 'node:fs'
import { launchVM } from '../launch/launch.js'
import { type GuestFlags, readGuestFlags } from './guest-options.js'
import { passThrough } from './guests/remote-command.js'

/** Runs one command in a new guest with the streams of this process. Returns its exit code. */
export async function runCommand(
  image: string | undefined,
  command: readonly string[],
  flags: GuestFlags,
): Promise<number> {
  const options = readGuestFlags(image, flags, (path) => readFileSync(path, 'utf8'))
  await using vm = await launchVM(options)
  return await passThrough(vm.ssh, command)
}
