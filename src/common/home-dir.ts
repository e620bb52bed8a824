import { homedir } from 'node:os'

/**
 * Returns the user's home directory, or undefined without `HOME` and without an entry in the user
 * database.
 */
export function findHomeDir(env: NodeJS.ProcessEnv = process.env): string | undefined {
  if (env.HOME) return env.HOME
  try {
    return homedir() || undefined
  } catch {
    return undefined
  }
}
