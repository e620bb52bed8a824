import { existsSync, mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { openWorkspace, sweepDeadWorkspaces } from '../../../src/vm/workspace.js'
import { buildCli } from '../../support/built-cli.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const BUILT = resolve(import.meta.dirname, '../../../dist/src/vm/workspace.js')

beforeAll(buildCli)

/** Runs a piece of a program in a process of its own, behind another program if there is one. */
function runApart(source: string, before: readonly string[] = []) {
  const script = `import { openWorkspace, sweepDeadWorkspaces } from ${JSON.stringify(BUILT)}\n${source}`
  const [file = '', ...args] = [...before, process.execPath, '--input-type=module', '-e', script]
  return execa(file, args, { reject: false })
}

test('a dead run with a long path leaves nothing after a sweep, in neither of its folders', async () => {
  const base = join(ownTmpdir(), 'a'.repeat(100))
  mkdirSync(base)
  const { stdout } = await runApart(`
    const { dir, socketDir } = await openWorkspace(${JSON.stringify(base)})
    process.stdout.write(JSON.stringify([dir, socketDir]), () => process.kill(process.pid, 'SIGKILL'))`)
  const folders = JSON.parse(stdout) as string[]
  expect(folders.map((folder) => existsSync(folder))).toEqual([true, true])
  expect(folders[0]).not.toBe(folders[1])
  await sweepDeadWorkspaces(base)
  expect(folders.map((folder) => existsSync(folder))).toEqual([false, false])
})

test('a sweep in a container that shares the folder leaves a live run alone', async () => {
  const base = ownTmpdir()
  const workspace = await openWorkspace(base)
  // A network namespace of its own is what keeps a container from seeing the locks of this one.
  const sweep = await runApart(`await sweepDeadWorkspaces(${JSON.stringify(base)})`, ['unshare', '--net'])
  expect(sweep.exitCode).toBe(0)
  expect(existsSync(workspace.dir)).toBe(true)
  await workspace.dispose()
  expect(existsSync(workspace.dir)).toBe(false)
})
