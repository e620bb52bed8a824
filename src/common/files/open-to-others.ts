import { realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Returns true if another user can enter a folder. This requires execute permission, for others or
 * for a group, on the folder and on each parent folder. A group with the id of the owner is a
 * user-private group and does not count.
 */
export function isOpenToOthers(dir: string): boolean {
  if (process.geteuid === undefined) return false
  for (let path = realpathSync(dir); ; path = dirname(path)) {
    const { mode, uid, gid } = statSync(path)
    if ((mode & (gid === uid ? 0o001 : 0o011)) === 0) return false
    if (path === dirname(path)) return true
  }
}
