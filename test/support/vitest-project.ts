import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'

const ROOT = resolve(import.meta.dirname, '../..')

const config = (provide: object) => `export default {
  resolve: { alias: [
    { find: /^withvm$/, replacement: '${ROOT}/fixtures/index.ts' },
    { find: /^withvm\\/vitest$/, replacement: '${ROOT}/fixtures/vitest.ts' },
  ] },
  test: { include: ['*.test.ts'], testTimeout: 120_000, maxWorkers: 1, provide: ${JSON.stringify(provide)} },
}
`

export interface ProjectRun {
  readonly exitCode: number | undefined
  /** Output on the terminal, without colors. */
  readonly output: string
  /** Reads a file of the project. */
  read(path: string): string
  /** Lists all files below a folder of the project, without links. Empty if the folder does not exist. */
  list(path: string): string[]
}

/** Runs a separate Vitest on one test file, with `import { expect, test } from 'withvm/vitest'` prepended. */
export async function runVitest(
  folder: string,
  source: string,
  settings: {
    readonly args?: readonly string[]
    readonly env?: NodeJS.ProcessEnv
    /** Values that the Vitest config provides. */
    readonly provide?: object
  } = {},
): Promise<ProjectRun> {
  mkdirSync(folder, { recursive: true })
  if (!existsSync(join(folder, 'node_modules'))) {
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  }
  writeFileSync(
    join(folder, 'vitest.config.mjs'),
    config({ vmOptions: { image: 'tiny' }, ...settings.provide }),
  )
  writeFileSync(join(folder, 'some.test.ts'), `import { expect, test } from 'withvm/vitest'\n${source}`)
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
  const { all, exitCode } = await execa(process.execPath, [vitest, 'run', ...(settings.args ?? [])], {
    cwd: folder,
    reject: false,
    all: true,
    timeout: 180_000,
    env: { CI: '', GITHUB_ACTIONS: '', NO_COLOR: '1', WITHVM_ARTIFACTS: '', ...settings.env },
  })
  const path = (name: string) => join(folder, name)
  return {
    exitCode,
    output: all,
    read: (name) => readFileSync(path(name), 'utf8'),
    list: (name) => listFiles(path(name)),
  }
}

function listFiles(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  } catch {
    return []
  }
}
