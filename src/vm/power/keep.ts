import { formatKeptLease } from '../../budget/take-lease.js'
import { formatDuration, parseDuration } from '../../common/duration.js'
import { vmError } from '../../errors.js'
import type { VMOptions } from '../../spec/options.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { KEPT_FILE } from '../workspace/run-folder.js'
import { KEPT_CONSOLE_SOCKET, type KeptRecord } from '../workspace/running-guests.js'

/**
 * Guest that keeps running without the process that started it, until it is stopped or its time
 * limit expires.
 */
export interface KeptGuest {
  /** Name for `withvm ssh`, `withvm console` and `withvm stop`. */
  readonly name: string
  /** Time at which the guest is removed. */
  readonly until: Date
  /** Instructions for users: how to log in and how to stop the guest. */
  readonly text: string
}

/**
 * Default duration: long enough to inspect the guest after a lunch break, short enough to end by
 * the evening.
 */
const DEFAULT_KEEP_MS = 60 * 60_000

/**
 * Returns how long failed guests are left running, in milliseconds; undefined if they are not.
 * @throws {UsageError} INVALID_OPTIONS when WITHVM_KEEP has an invalid value.
 */
export function resolveKeepMs(
  { keepOnFailure }: Pick<VMOptions, 'keepOnFailure'>,
  env: NodeJS.ProcessEnv = process.env,
): number | undefined {
  if (keepOnFailure === false) return undefined
  if (keepOnFailure === true) return DEFAULT_KEEP_MS
  if (keepOnFailure !== undefined) return parseDuration(keepOnFailure)
  const value = env.WITHVM_KEEP ?? ''
  if (value === '' || value === '0') return undefined
  if (value === '1') return DEFAULT_KEEP_MS
  const keepMs = parseDuration(value)
  if (keepMs !== undefined && Number.isFinite(keepMs)) return keepMs
  throw vmError('INVALID_OPTIONS', {
    summary: 'The environment variable WITHVM_KEEP has an invalid value.',
    expected: "'1' or a duration ('30m', '2h'); '0' keeps no guest",
    got: `'${value}'`,
    hint: 'Correct or unset WITHVM_KEEP.',
  })
}

/** Time limit for QEMU to close the console connection to this process, in milliseconds. */
const DRAIN_TIMEOUT_MS = 5000

/**
 * Hands a guest over to its keeper, which owns it from then on. The keeper also takes over the
 * console: it continues the log after this process has logged everything received before.
 */
export async function handOver(machine: Machine, session: Session, why: string): Promise<KeptGuest> {
  const { keeper, workspace, spec } = machine
  if (keeper === undefined) throw notKeepableError(machine.name)
  const addr = { type: 'unix', data: { path: workspace.socket(KEPT_CONSOLE_SOCKET) } }
  const socket = { addr, server: false }
  await session.qmp.execute('chardev-change', { id: 'serial0', backend: { type: 'socket', data: socket } })
  await machine.serial.drain(DRAIN_TIMEOUT_MS)
  const until = new Date(Date.now() + keeper.keepMs)
  const record: KeptRecord = {
    why,
    until: until.toISOString(),
    image: spec.image?.name,
    user: spec.ssh?.user,
    sshPort: machine.ports.numbers[spec.ssh === undefined ? -1 : 0],
    keeperPid: keeper.pid,
  }
  await workspace.write(KEPT_FILE, JSON.stringify(record))
  const logBytes = Math.max(0, spec.limits.consoleBytes - machine.serial.printedBytes)
  await keeper.takeOver({ leaseName: formatKeptLease(machine.lease), logBytes })
  const { name } = machine
  return { name, until, text: describeKept(name, keeper.keepMs, record) }
}

function describeKept(name: string, keepMs: number, record: KeptRecord): string {
  const ssh = record.sshPort === undefined ? [] : [`npx withvm ssh ${name}       # opens a shell`]
  return [
    `Guest '${name}' was left running for ${formatDuration(keepMs)}:`,
    ...ssh,
    `npx withvm console ${name}   # opens the serial console`,
    `npx withvm stop ${name}      # stops it; \`withvm ps\` lists all`,
  ].join('\n  ')
}

function notKeepableError(name: string) {
  return vmError('INVALID_OPTIONS', {
    summary: `Guest '${name}' cannot be left running: it was started without \`keepOnFailure\`.`,
    expected: 'the option `keepOnFailure`, or WITHVM_KEEP=1, at the start of the guest',
    hint: 'Start the guest with `keepOnFailure` or WITHVM_KEEP=1.',
  })
}
