// The keeper: a process that outlives the test process. `keeper.ts` starts it in its own session.
import { createInterface } from 'node:readline'
import { writeLeaseNamed } from '../../budget/lease-files.js'
import { ConsoleLogFile } from '../../channel/serial/console-log-file.js'
import { ConsoleRelay, type RelaySockets } from '../../channel/serial/console-relay.js'
import { OpenFolder } from '../../common/files/open-folder.js'
import { removeTree } from '../../common/files/remove-tree.js'
import { keepTouched } from '../../common/locks/heartbeat.js'
import {
  currentProcess,
  livenessOfProcess,
  type ProcessReference,
} from '../../common/locks/process-identity.js'
import { pollUntil } from '../../common/poll.js'
import { endQemu, findQemusOf } from './qemu-of-folder.js'
import { forgetHandedOver, KEEPER_FILE } from './run-folder.js'

/** Requests of the test process to its keeper, one line of JSON each. */
export type KeeperOrder =
  | {
      readonly watch: readonly string[]
      /** Users as which QEMU may run. */
      readonly uids: readonly number[]
      readonly console: RelaySockets
    }
  /** Names the QEMU of a new power-on. Has no reply. */
  | { readonly qemu: ProcessReference }
  /**
   * Hands the guest over for `keepMs` milliseconds, together with its lease in the host budget and
   * the log of its console, which may grow by `logBytes`.
   */
  | { readonly keepMs: number; readonly leaseName: string; readonly logBytes: number }

/** Replies of the keeper, one for each request that has a reply. */
export type KeeperReply = 'watching' | 'kept'

/**
 * Interval between checks whether a kept guest still runs, milliseconds: each costs one read of a
 * file in `/proc`.
 */
const CHECK_INTERVAL_MS = 300

/** Folders of the run; the first contains QEMU's sockets. */
let folders: readonly string[] = []
let uids: readonly number[] = []
/** QEMU of the latest power-on. */
let qemu: ProcessReference | undefined
/** Time on the monotonic clock, which does not jump. */
let endsAt: number | undefined
const stop = new AbortController()
/**
 * Log of the console, opened by the test process: the folder may belong to another user, who could
 * put a link there.
 */
const LOG_FD = 3
let relay: ConsoleRelay | undefined

async function handleRequest(order: KeeperOrder): Promise<KeeperReply | undefined> {
  if ('qemu' in order) {
    qemu = order.qemu
    return undefined
  }
  if ('watch' in order) {
    folders = order.watch
    uids = order.uids
    // A sweep leaves the folders alone as long as this process lives.
    for (const path of folders) {
      const folder = OpenFolder.open(path)
      await folder.write(KEEPER_FILE, currentProcess())
      keepTouched(() => folder.touch())
    }
    relay = await ConsoleRelay.listen(order.console)
    return 'watching'
  }
  relay?.start(ConsoleLogFile.continue(LOG_FD, order.logBytes))
  await writeLeaseNamed(order.leaseName)
  endsAt = performance.now() + order.keepMs
  return 'kept'
}

/** Waits until the guest ends by itself, its time is up, or this process receives a signal. */
async function untilOver(keptUntil: number): Promise<void> {
  const isOver = () => stop.signal.aborted || qemu === undefined || livenessOfProcess(qemu) === 'dead'
  const timeoutMs = keptUntil - performance.now()
  await pollUntil(() => isOver() || undefined, { intervalMs: CHECK_INTERVAL_MS, timeoutMs })
}

/**
 * Ends QEMU: the recorded one, and one that the test process had no time to record before its end.
 */
async function endGuest(): Promise<void> {
  if (qemu !== undefined) await endQemu(qemu, endsAt === undefined ? 'at-once' : 'orderly')
  for (const other of await findOthers()) await endQemu(other, 'at-once')
}

/**
 * Searches `/proc` for QEMU. A compromised QEMU can hide from that, but is recorded before it runs
 * a guest.
 */
function findOthers(): Promise<ProcessReference[]> {
  // The search fails while too many files are open on this host.
  const search = () => findQemusOf(folders, uids).catch(() => undefined)
  return pollUntil(search, { intervalMs: CHECK_INTERVAL_MS })
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stop.abort())
process.stdout.on('error', () => {}) // the test process may end before it reads the reply

for await (const line of createInterface({ input: process.stdin })) {
  const reply = await handleRequest(JSON.parse(line) as KeeperOrder)
  if (reply !== undefined) process.stdout.write(`${reply}\n`)
}
// The test process has ended or has disposed of its guest.
if (endsAt !== undefined) await untilOver(endsAt)
await endGuest()
for (const folder of folders) {
  await removeTree(folder)
  await forgetHandedOver(folder)
}
process.exit()
