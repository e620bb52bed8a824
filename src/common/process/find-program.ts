import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { delimiter, isAbsolute, resolve } from 'node:path'

/**
 * Returns the absolute path of a program: searched on PATH, or resolved if the name contains a
 * slash.
 */
export async function findProgram(
  name: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string | undefined> {
  for (const path of programPaths(name, env)) {
    if (await isExecutable(path)) return path
  }
  return undefined
}

function programPaths(name: string, env: NodeJS.ProcessEnv = process.env): string[] {
  if (name.includes('/')) return [resolve(name)]
  const folders = (env.PATH ?? '').split(delimiter).filter(isAbsolute)
  return [...new Set(folders)].map((folder) => resolve(folder, name))
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}
