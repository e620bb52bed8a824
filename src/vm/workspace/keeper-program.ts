// The program that outlives a test process: started by `keeper.ts`, in a session of its own.
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { writeLeaseNamed } from '../../budget/lease-files.js'
import { ConsoleLogFile } from '../../channel/serial/console-log-file.js'
import { ConsoleRelay, type RelaySockets } from '../../channel/serial/console-relay.js'
import { OpenFolder } from '../../common/files/open-folder.js'
import { removeTree } from '../../common/files/remove-tree.js'
import { keepTouched } from '../../common/locks/heartbeat.js'
import { currentProcess } from '../../common/locks/process-identity.js'
import { endQemu, findQemuOf, worksIn } from './qemu-of-folder.js'
import { forgetHandedOver, KEEPER_FILE } from './run-folder.js'

/** What the test process writes to its keeper, a line of JSON each. */
export type KeeperOrder =
  | { readonly watch: readonly string[]; readonly console: RelaySockets }
  /**
   * From now on the guest is the keeper's, for so many milliseconds, and with it its entry in the ledger of the budget,
   * and the log of its console, which may grow by so many bytes.
   */
  | { readonly keepMs: number; readonly place: string; readonly logBytes: number }

/** What the keeper answers to each order. */
export type KeeperReply = 'watching' | 'kept'

/** How soon the end of a kept guest is noticed, milliseconds: a look costs one read of a file in `/proc`. */
const LOOK_MS = 300

/** The folders of the run: the first holds QEMU's sockets. */
let folders: readonly string[] = []
/** By the monotonic clock, which does not jump. */
let endsAt: number | undefined
const stop = new AbortController()
/** Log of the console, opened by the test process: the folder may be another user's, who could put a link there. */
const LOG_FD = 3
let relay: ConsoleRelay | undefined

async function obey(order: KeeperOrder): Promise<KeeperReply> {
  if ('watch' in order) {
    folders = order.watch
    // As long as this process lives, a sweep leaves the folders alone.
    for (const path of folders) {
      const folder = OpenFolder.open(path)
      await folder.write(KEEPER_FILE, currentProcess())
      keepTouched(() => folder.touch())
    }
    relay = await ConsoleRelay.listen(order.console)
    return 'watching'
  }
  relay?.start(ConsoleLogFile.continue(LOG_FD, order.logBytes))
  await writeLeaseNamed(order.place)
  endsAt = performance.now() + order.keepMs
  return 'kept'
}

/** Waits until the guest ends by itself, its time is up, or this process is told to end. */
async function untilOver(): Promise<void> {
  while (!stop.signal.aborted && performance.now() < (endsAt as number)) {
    if (!(await hasQemu())) return
    await sleep(LOOK_MS)
  }
}

let qemuPid: number | undefined

/** Returns whether QEMU runs, also where too many files are open to tell. All of `/proc` is read once: a kept QEMU is never replaced. */
async function hasQemu(): Promise<boolean> {
  try {
    qemuPid ??= await findQemuOf(folders)
    return qemuPid !== undefined && (await worksIn(qemuPid, folders))
  } catch {
    return true
  }
}

async function endGuest(): Promise<void> {
  while (await hasQemu()) {
    try {
      if (qemuPid !== undefined) await endQemu(qemuPid, folders, endsAt === undefined ? 'at-once' : 'orderly')
    } catch {
      // Too many files are open.
    }
    await sleep(20)
  }
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stop.abort())
process.stdout.on('error', () => {}) // the test process may be gone before it has read the answer

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${await obey(JSON.parse(line) as KeeperOrder)}\n`)
}
// The test process has ended, or has no guest any more.
if (endsAt !== undefined) await untilOver()
await endGuest()
for (const folder of folders) {
  await removeTree(folder)
  await forgetHandedOver(folder)
}
process.exit()
