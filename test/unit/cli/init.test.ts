import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { buildCli, runCli } from '../../support/built-cli.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

beforeAll(buildCli, 120_000)

/** Runs `withvm init`. Returns its output and the files of the project. */
async function init(folder: string, ...flags: string[]) {
  const { stdout, stderr, exitCode } = await runCli(['init', folder, ...flags])
  const files = existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    : []
  return {
    stdout,
    stderr,
    exitCode,
    files: files.sort(),
    read: (file: string) => readFileSync(join(folder, file), 'utf8'),
  }
}

test('`withvm init` writes a complete project into a new folder, and names the next steps', async () => {
  const folder = join(ownTmpdir(), 'new')
  const { stdout, exitCode, files, read } = await init(folder)
  expect(exitCode).toBe(0)
  expect(files).toEqual([
    '.github/workflows/withvm.yml',
    '.gitignore',
    'package.json',
    'tests/first.test.ts',
    'tsconfig.json',
    'vitest.config.ts',
  ])
  expect(stdout).toBe(`created  package.json
created  vitest.config.ts
created  tsconfig.json
created  tests/first.test.ts
created  .github/workflows/withvm.yml
created  .gitignore: node_modules/ test-results/ .vitest-attachments/

Next:
  cd ${folder}
  npm i -D withvm vitest typescript @types/node
  npx withvm setup    # installs QEMU and the tools that build images
  npx vitest run`)
  expect(read('tsconfig.json')).toContain('"module": "NodeNext"')
  expect(read('.github/workflows/withvm.yml')).toContain('- run: npm ci\n      - run: npx withvm setup\n')
})

test('`withvm init` changes no file of a project, except that it adds lines to .gitignore', async () => {
  const folder = ownTmpdir()
  const before = {
    'package.json': '{ "devDependencies": { "withvm": "1", "vitest": "4" } }',
    'vite.config.js': 'export default {}',
    'tsconfig.json': '{}',
    'tests/first.test.ts': '// mine',
    'pnpm-lock.yaml': '',
    '.gitignore': 'dist\n/node_modules',
  }
  mkdirSync(join(folder, 'tests'))
  for (const [file, text] of Object.entries(before)) writeFileSync(join(folder, file), text)
  const first = await init(folder)
  expect(first.stdout).toBe(`kept     package.json
kept     vite.config.js
kept     tsconfig.json
kept     tests/first.test.ts
created  .github/workflows/withvm.yml
extended .gitignore: test-results/ .vitest-attachments/

Next:
  cd ${folder}
  pnpm add -D typescript @types/node
  npx withvm setup    # installs QEMU and the tools that build images
  npx vitest run`)
  for (const [file, text] of Object.entries({
    ...before,
    '.gitignore': `${before['.gitignore']}\ntest-results/\n.vitest-attachments/\n`,
  }))
    expect(first.read(file)).toBe(text)
  expect(first.read('.github/workflows/withvm.yml')).toContain('pnpm install --frozen-lockfile')
  const second = await init(folder)
  expect(second.stdout).not.toMatch(/created|extended/)
  expect(second.files).toEqual(first.files)
})

test('`withvm init` writes files that fit a package without `"type": "module"`', async () => {
  const folder = ownTmpdir()
  writeFileSync(join(folder, 'package.json'), '{}')
  const { files, read } = await init(folder)
  expect(files).toContain('vitest.config.mts')
  expect(read('tsconfig.json')).toContain('"moduleResolution": "Bundler"')
})

test('`withvm init --js` writes no TypeScript, and --tests and --no-ci choose the files', async () => {
  const folder = ownTmpdir()
  const { files, read, stdout } = await init(folder, '--js', '--no-ci', '--tests', 'test/vm/')
  expect(files).toEqual(['.gitignore', 'package.json', 'test/vm/first.test.js', 'vitest.config.mjs'])
  expect(read('vitest.config.mjs')).toContain("include: ['test/vm/**/*.test.js']")
  expect(stdout).toContain('  npm i -D withvm vitest\n')
})

test('`withvm init` rejects a folder of tests outside of the project, and a package.json that is no JSON', async () => {
  const folder = ownTmpdir()
  const outside = await init(folder, '--tests', '../elsewhere')
  expect(outside).toMatchObject({ exitCode: 2, files: [] })
  expect(outside.stderr).toContain("Got:      '../elsewhere'")
  writeFileSync(join(folder, 'package.json'), '{,}')
  const broken = await init(folder)
  expect(broken).toMatchObject({ exitCode: 2, files: ['package.json'] })
  expect(broken.stderr).toMatch(/^withvm: The file .*package\.json cannot be used by `withvm init`\./)
})
