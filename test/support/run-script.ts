import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa, type ResultPromise } from 'execa'

const ROOT = resolve(import.meta.dirname, '../..')

/**
 * Runs a program that uses the built package, in a process of its own: to be killed, or to look at its streams. Its
 * runs are kept below `folder`, `#dist` in it is the folder of what was built; `name` tells apart programs that run there at the same time.
 */
export function runScript(
  folder: string,
  source: string,
  name = 'script',
  env: NodeJS.ProcessEnv = {},
): ResultPromise<{ reject: false }> {
  return execa(process.execPath, [writeScript(folder, source, name)], {
    reject: false,
    env: { TMPDIR: folder, ...env },
  })
}

/** Writes such a program, and gives its path. */
export function writeScript(folder: string, source: string, name = 'script'): string {
  const scripts = join(ROOT, 'node_modules', '.withvm-tests')
  mkdirSync(scripts, { recursive: true })
  const file = join(scripts, `${folder.replaceAll(/\W+/g, '-')}-${name}.mjs`)
  writeFileSync(
    file,
    `import { launchVM, withVM } from '${join(ROOT, 'dist/fixtures/index.js')}'\n${source.replaceAll('#dist', join(ROOT, 'dist'))}`,
  )
  return file
}
