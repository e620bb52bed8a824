import { nameKeptLease } from '../../budget/take-lease.js'
import { formatDuration, parseDuration } from '../../common/duration.js'
import { vmError } from '../../errors.js'
import type { VMOptions } from '../../spec/options.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { KEPT_FILE } from '../workspace/run-folder.js'
import { guestName, KEPT_CONSOLE_SOCKET, type KeptRecord } from '../workspace/running-guests.js'

/** A guest that goes on without the process that started it, until somebody stops it or its time is up. */
export interface KeptGuest {
  /** By this `withvm ssh`, `withvm console` and `withvm stop` know it. */
  readonly name: string
  readonly until: Date
  /** How to get into it, and how to throw it away: for a person. */
  readonly text: string
}

/** Long enough to look into it after lunch, short enough to be gone by the evening. */
const DEFAULT_KEEP_MS = 60 * 60_000

/**
 * How long guests that fail are to be left running, milliseconds; undefined where they are not.
 * @throws {UsageError} INVALID_OPTIONS when WITHVM_KEEP says something else.
 */
export function resolveKeepMs(
  { keepOnFailure }: Pick<VMOptions, 'keepOnFailure'>,
  env: NodeJS.ProcessEnv = process.env,
): number | undefined {
  if (keepOnFailure === false) return undefined
  if (keepOnFailure === true) return DEFAULT_KEEP_MS
  if (keepOnFailure !== undefined) return parseDuration(keepOnFailure)
  const said = env.WITHVM_KEEP ?? ''
  if (said === '' || said === '0') return undefined
  if (said === '1') return DEFAULT_KEEP_MS
  const keepMs = parseDuration(said)
  if (keepMs !== undefined && Number.isFinite(keepMs)) return keepMs
  throw vmError('INVALID_OPTIONS', {
    summary: 'The environment variable WITHVM_KEEP cannot be used.',
    expected: "'1', or for how long: '30m', '2h'; '0' keeps nothing",
    got: `'${said}'`,
    hint: 'correct it, or unset it.',
  })
}

/** How long QEMU may take to let go of the console that this process reads, milliseconds. */
const LET_GO_MS = 5000

/**
 * Leaves a guest to its keeper: from then on it is not this process' any more. Its console goes to the keeper, which
 * begins to log when this process has read and logged everything that came before.
 */
export async function handOver(machine: Machine, session: Session, why: string): Promise<KeptGuest> {
  const { keeper, workspace, spec } = machine
  if (keeper === undefined) throw notKeepable(spec.name)
  const addr = { type: 'unix', data: { path: workspace.socket(KEPT_CONSOLE_SOCKET) } }
  const socket = { addr, server: false }
  await session.qmp.execute('chardev-change', { id: 'serial0', backend: { type: 'socket', data: socket } })
  await machine.serial.drain(LET_GO_MS)
  const until = new Date(Date.now() + keeper.keepMs)
  const record: KeptRecord = {
    why,
    until: until.toISOString(),
    image: spec.image?.name,
    user: spec.ssh?.user,
    sshPort: machine.ports.hostPorts[spec.ssh === undefined ? -1 : 0],
    keeperPid: keeper.pid,
  }
  await workspace.write(KEPT_FILE, JSON.stringify(record))
  const logBytes = Math.max(0, spec.limits.consoleBytes - machine.serial.printedBytes)
  await keeper.takeOver({ place: nameKeptLease(machine.lease), logBytes })
  const name = guestName(spec.name, workspace.dir)
  return { name, until, text: describeKept(spec.name, name, keeper.keepMs, record) }
}

function describeKept(guest: string, name: string, keepMs: number, record: KeptRecord): string {
  const ssh = record.sshPort === undefined ? [] : [`npx withvm ssh ${name}       # a shell in it`]
  return [
    `The guest '${guest}' was left running, for ${formatDuration(keepMs)}:`,
    ...ssh,
    `npx withvm console ${name}   # its serial console`,
    `npx withvm stop ${name}      # throws it away; \`withvm ps\` lists all`,
  ].join('\n  ')
}

function notKeepable(name: string) {
  return vmError('INVALID_OPTIONS', {
    summary: `The guest '${name}' cannot be left running: it was started to end with this process.`,
    expected: '`keepOnFailure` among its options, or WITHVM_KEEP=1, when it is started',
    hint: 'start it so.',
  })
}
