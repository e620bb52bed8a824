import { userInfo } from 'node:os'

/**
 * Returns the name of the effective user for messages, or its number: containers may run user ids
 * without a name.
 */
export function currentUserName(): string {
  try {
    return userInfo().username
  } catch {
    return String(process.geteuid?.() ?? 'unknown')
  }
}
