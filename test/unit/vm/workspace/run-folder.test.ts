import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { newRunFolderName } from '../../../../src/common/locks/run-folder-name.js'
import { openRuntimeDir } from '../../../../src/common/locks/runtime-dir.js'
import { forgetLostFolders, noteHandedOver } from '../../../../src/vm/workspace/run-folder.js'
import { buildCli } from '../../../support/built-cli.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

const BUILT = resolve(import.meta.dirname, '../../../../dist/src')

beforeAll(buildCli)

test('the keeper of a folder is unknown, not dead, if too many open files prevent the check', async () => {
  const dir = ownTmpdir()
  const { stdout } = await execa(process.execPath, [
    '--input-type=module',
    '-e',
    `import { openSync, closeSync, writeFileSync } from 'node:fs'
     import { readKeeperLiveness } from '${BUILT}/vm/workspace/run-folder.js'
     import { readArgs } from '${BUILT}/vm/workspace/qemu-of-folder.js'
     import { currentProcess } from '${BUILT}/common/locks/process-identity.js'
     const dir = ${JSON.stringify(dir)}
     const none = await readKeeperLiveness(dir)
     writeFileSync(dir + '/keeper', currentProcess())
     const files = []
     try { for (;;) files.push(openSync('/dev/null')) } catch {}
     const full = await readKeeperLiveness(dir)
     const args = await readArgs(process.pid).catch(({ code }) => code)
     files.forEach((file) => closeSync(file))
     console.log(none, full, args)`,
  ])
  expect(stdout).toBe('dead unknown HOST_UNSUITABLE')
})

test('the record of a removed folder is deleted, but not while its run is alive', async () => {
  const base = ownTmpdir()
  const { stdout } = await execa(process.execPath, [
    '--input-type=module',
    '-e',
    `import { newRunFolderName } from '${BUILT}/common/locks/run-folder-name.js'
     console.log([newRunFolderName(), newRunFolderName()].join(' '))`,
  ])
  const [gone = '', there = ''] = stdout.split(' ')
  const alive = newRunFolderName()
  for (const name of [gone, there, alive]) {
    mkdirSync(join(base, name))
    await noteHandedOver(join(base, name))
  }
  rmSync(join(base, gone), { recursive: true })
  rmSync(join(base, alive), { recursive: true })
  await forgetLostFolders()
  const notes = openRuntimeDir('handed-over') as string
  const left = [gone, there, alive].filter((name) => existsSync(join(notes, name)))
  for (const name of left) rmSync(join(notes, name))
  expect(left).toEqual([there, alive])
  expect(readdirSync(base)).toEqual([there])
})
