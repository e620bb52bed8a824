import type { GuestHandle } from '../guest-handle.js'
import { wrapScript } from './guest-script.js'
import {
  FIND_JOURNAL_ACCESS,
  type LogMark,
  parseJournal,
  parseReading,
  READ_BOOT,
  READ_KERNEL_LOG,
} from './log-messages.js'

/**
 * Prints the boot, the last kernel message and the last entry of the journal. The journal first
 * takes up what programs have already sent to it.
 */
const SCRIPT = [
  `log=kernel; ${READ_BOOT} || exit 1`,
  `(${READ_KERNEL_LOG}\n) 2>/dev/null | tail -n 1`,
  'echo',
  'command -v journalctl >/dev/null 2>&1 || exit 0',
  FIND_JOURNAL_ACCESS,
  '$as journalctl --sync 2>/dev/null',
  '$as journalctl -n 1 -q --no-pager -o json --output-fields=_PID 2>/dev/null',
  'exit 0',
].join('\n')

/**
 * Returns the present end of the logs of a guest.
 * @throws {CommandError} COMMAND_FAILED when the guest is not a Linux system with /proc.
 */
export async function readLogMark(vm: GuestHandle, signal: AbortSignal | undefined): Promise<LogMark> {
  const command = wrapScript(SCRIPT)
  const options = signal === undefined ? {} : { signal }
  const { stdout } = await (vm.commandChannel === 'ssh'
    ? vm.ssh(command, options)
    : vm.exec(command, options))
  const { bootId, uptime, messages } = parseReading(stdout)
  const { cursor } = parseJournal(stdout)
  const seconds = [messages.at(-1)?.seconds, uptime].find(Number.isFinite) ?? 0
  return { bootId, kernelSeconds: seconds, ...(cursor !== undefined && { journalCursor: cursor }) }
}
