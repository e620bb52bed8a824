import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa, type ResultPromise } from 'execa'

const ROOT = resolve(import.meta.dirname, '../..')

/** Result of one test, from Vitest's JSON reporter. */
export interface NestedResult {
  readonly fullName: string
  readonly status: 'passed' | 'failed' | 'skipped' | 'pending'
  readonly failureMessages: readonly string[]
}

/** Separate project whose tests run in a separate Vitest. */
export interface NestedProject extends Disposable {
  readonly folder: string
  write(file: string, text: string): void
  read(file: string): string
  start(args: readonly string[], env?: NodeJS.ProcessEnv): ResultPromise<{ reject: false; all: true }>
  /** Runs all tests once. Returns the results, sorted by name. */
  run(args?: readonly string[], env?: NodeJS.ProcessEnv): Promise<readonly NestedResult[]>
}

/** Makes a project that imports withvm from this repository. `config` is inserted into the `test` part of its config. */
export function nestedProject(config = ''): NestedProject {
  // Outside of this repository, because Vitest ignores its folders of generated files.
  const folder = mkdtempSync(join(tmpdir(), 'wt-nested-'))
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const project: NestedProject = {
    folder,
    write: (file, text) => writeFileSync(join(folder, file), text),
    read: (file) => readFileSync(join(folder, file), 'utf8'),
    start: (args, env = {}) =>
      execa(process.execPath, [join(ROOT, 'node_modules/vitest/vitest.mjs'), ...args], {
        cwd: folder,
        reject: false,
        all: true,
        env: { CI: '', GITHUB_ACTIONS: '', NO_COLOR: '1', FORCE_COLOR: undefined, ...env },
        timeout: 200_000,
      }),
    run: async (args = [], env = {}) => {
      const report = join(folder, 'report.json')
      rmSync(report, { force: true })
      const { all } = await project.start(['run', '--reporter=json', `--outputFile=${report}`, ...args], env)
      try {
        const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as {
          testResults: { assertionResults: NestedResult[]; message: string }[]
        }
        const broken = testResults.find(({ message }) => message !== '')
        if (broken !== undefined) throw new Error(broken.message)
        return testResults.flatMap(({ assertionResults }) => assertionResults)
      } catch (cause) {
        throw new Error(`the nested Vitest could not run the tests:\n${all}`, { cause })
      }
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
  project.write(
    'vitest.config.mjs',
    `export default {
  resolve: {
    alias: [
      { find: /^withvm$/, replacement: '${ROOT}/fixtures/index.ts' },
      { find: /^withvm\\/vitest$/, replacement: '${ROOT}/fixtures/vitest.ts' },
      { find: '#project', replacement: '${ROOT}' },
    ],
  },
  test: { ${config} },
}
`,
  )
  return project
}
