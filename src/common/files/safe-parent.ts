import { lstatSync, type Stats } from 'node:fs'

/**
 * Returns true if no other user can rename or replace entries of this user in a folder: the folder
 * belongs to root or this user, and it is sticky or not writable for others. A link is not followed
 * and counts as unsafe.
 */
export function isSafeParent(dir: string): boolean {
  const stat = statIfVisible(dir)
  const uid = process.geteuid?.()
  if (stat === undefined) return false
  if (uid === undefined) return true
  if (stat.isSymbolicLink() || !stat.isDirectory()) return false
  const isOpen = (stat.mode & 0o022) !== 0
  return [0, uid].includes(stat.uid) && (!isOpen || (stat.mode & 0o1000) !== 0)
}

/**
 * Returns the status of a path without following a link; undefined if this user cannot see it. Not
 * cached, because a process can change its user.
 */
export function statIfVisible(path: string): Stats | undefined {
  try {
    return lstatSync(path)
  } catch {
    return undefined
  }
}
