import { lstatSync, type Stats } from 'node:fs'

/**
 * Returns whether no other user can rename what this user has in a folder, or put something in its place: the folder belongs to root or to
 * this user, and others cannot write to it, or it is sticky. A link is not followed and counts as unsafe.
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

/** Returns the state of a path without following a link, or undefined if this user cannot see it: a process can change its user. */
export function statIfVisible(path: string): Stats | undefined {
  try {
    return lstatSync(path)
  } catch {
    return undefined
  }
}
