import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa, type ResultPromise } from 'execa'

const ROOT = resolve(import.meta.dirname, '../..')

/**
 * Runs a program that imports the built package in a separate process, which can be killed or whose streams can be read.
 * Its runs are below `folder`. `#dist` in the source is the folder of the build; `name` distinguishes concurrent programs.
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

/** Writes such a program. Returns its path. */
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
