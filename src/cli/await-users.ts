import { setTimeout as sleep } from 'node:timers/promises'
import { hasStaleUsers } from '../cache/entry-store.js'
import { SECOND_LOOK_MS } from '../common/locks/staleness.js'

/**
 * Waits until it is known whether containers and other hosts that have not touched their marker for an hour still use entries of a folder
 * of the cache. Returns at once where there are none.
 *
 * @param names the entries. @default all
 */
export async function awaitStaleUsers(folder: string, names?: readonly string[]): Promise<void> {
  if (!(await hasStaleUsers(folder, names))) return
  process.stderr.write(
    'withvm: another container or host has not been heard of for an hour; waiting 41 s to see whether it is gone …\n',
  )
  await sleep(SECOND_LOOK_MS)
}
