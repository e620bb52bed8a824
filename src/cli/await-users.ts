import { setTimeout as sleep } from 'node:timers/promises'
import { hasStaleUsers } from '../cache/entry-store.js'
import { RECHECK_MS } from '../common/locks/staleness.js'
import { logToStderr } from '../common/log.js'

/**
 * Waits until the markers of other containers and hosts that are older than an hour are confirmed
 * as live or dead. Returns immediately if there is no such marker.
 *
 * @param names names of the entries. @default all
 */
export async function awaitStaleUsers(folder: string, names?: readonly string[]): Promise<void> {
  if (!(await hasStaleUsers(folder, names))) return
  logToStderr(
    'waiting 41 s to check whether another container or host, with no heartbeat for an hour, is gone …',
  )
  await sleep(RECHECK_MS)
}
