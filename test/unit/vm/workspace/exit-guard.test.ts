import { beforeAll, expect, test } from 'vitest'
import { buildCli } from '../../../support/built-cli.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'
import { runScript } from '../../../support/run-script.js'

beforeAll(buildCli)

/** A program that guards something while execa runs another program, begun in this order. */
const source = (first: string, second: string) => `
  import { execa } from 'execa'
  import { guardExit } from '#dist/src/vm/workspace/exit-guard.js'
  const run = () => void execa('sleep', ['100'], { reject: false })
  const guard = () => void guardExit(() => console.log('released'))
  ${first}()
  ${second}()
  setInterval(() => {}, 1000)
  setTimeout(() => process.kill(process.pid, 'SIGTERM'), 200)
  setTimeout(() => process.exit(9), 5000)`

test.each([
  ['run', 'guard'],
  ['guard', 'run'],
])('a signal ends the guarded resources, then the process: %s, then %s', async (first, second) => {
  const { stdout, signal } = await runScript(ownTmpdir(), source(first, second), first)
  expect({ stdout, signal }).toEqual({ stdout: 'released', signal: 'SIGTERM' })
})

test('a signal handler of the user decides whether the process ends, and is called once', async () => {
  const handler = `process.on('SIGTERM', () => { console.log('mine'); setTimeout(() => process.exit(5), 200) })\n`
  const { stdout, exitCode } = await runScript(ownTmpdir(), `${source('run', 'guard')}\n${handler}`, 'own')
  expect({ stdout, exitCode }).toEqual({ stdout: 'released\nmine', exitCode: 5 })
})
