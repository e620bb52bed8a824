// The keeper: a process that outlives the test process. `keeper.ts` starts it in its own session.
import { createInterface } from 'node:readline'
import { writeLeaseNamed } from '../../budget/lease-files.js'
import { ConsoleLogFile } from '../../channel/serial/console-log-file.js'
import { ConsoleRelay, type RelaySockets } from '../../channel/serial/console-relay.js'
import { OpenFolder } from '../../common/files/open-folder.js'
import { removeTree } from '../../common/files/remove-tree.js'
import { keepTouched } from '../../common/locks/heartbeat.js'
import { currentProcess } from '../../common/locks/process-identity.js'
import { pollUntil } from '../../common/poll.js'
import { endQemu, findQemuOf, isQemuOf } from './qemu-of-folder.js'
import { forgetHandedOver, KEEPER_FILE } from './run-folder.js'

/** Requests of the test process to its keeper, one line of JSON each. */
export type KeeperOrder =
  | { readonly watch: readonly string[]; readonly console: RelaySockets }
  /**
   * Hands the guest over for `keepMs` milliseconds, together with its lease in the host budget and
   * the log of its console, which may grow by `logBytes`.
   */
  | { readonly keepMs: number; readonly leaseName: string; readonly logBytes: number }

/** Replies of the keeper, one for each request. */
export type KeeperReply = 'watching' | 'kept'

/**
 * Interval between checks whether a kept guest still runs, milliseconds: each costs one read of a
 * file in `/proc`.
 */
const CHECK_INTERVAL_MS = 300

/** Folders of the run; the first contains QEMU's sockets. */
let folders: readonly string[] = []
/** Time on the monotonic clock, which does not jump. */
let endsAt: number | undefined
const stop = new AbortController()
/**
 * Log of the console, opened by the test process: the folder may belong to another user, who could
 * put a link there.
 */
const LOG_FD = 3
let relay: ConsoleRelay | undefined

async function handleRequest(order: KeeperOrder): Promise<KeeperReply> {
  if ('watch' in order) {
    folders = order.watch
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
  await pollUntil(async () => stop.signal.aborted || !(await hasQemu()) || undefined, {
    intervalMs: CHECK_INTERVAL_MS,
    timeoutMs: keptUntil - performance.now(),
  })
}

let qemuPid: number | undefined

/**
 * Returns whether QEMU runs; true if too many open files prevent the check. `/proc` is searched
 * only once: a kept QEMU is never replaced.
 */
async function hasQemu(): Promise<boolean> {
  try {
    qemuPid ??= await findQemuOf(folders)
    return qemuPid !== undefined && (await isQemuOf(qemuPid, folders))
  } catch {
    return true
  }
}

async function endGuest(): Promise<void> {
  const end = async () => {
    if (!(await hasQemu())) return true
    try {
      if (qemuPid !== undefined) await endQemu(qemuPid, folders, endsAt === undefined ? 'at-once' : 'orderly')
    } catch {
      // Too many files are open.
    }
    return undefined
  }
  await pollUntil(end, { intervalMs: 20 })
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stop.abort())
process.stdout.on('error', () => {}) // the test process may end before it reads the reply

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${await handleRequest(JSON.parse(line) as KeeperOrder)}\n`)
}
// The test process has ended or has disposed of its guest.
if (endsAt !== undefined) await untilOver(endsAt)
await endGuest()
for (const folder of folders) {
  await removeTree(folder)
  await forgetHandedOver(folder)
}
process.exit()
