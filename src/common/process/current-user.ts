import { userInfo } from 'node:os'

/** Returns the name of the effective user for messages, or its number: containers run user ids that have no name. */
export function currentUserName(): string {
  try {
    return userInfo().username
  } catch {
    return String(process.geteuid?.() ?? 'unknown')
  }
}
