import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { buildCli } from '../test/support/built-cli.js'

const RUNNERS = fileURLToPath(new URL('runners/', import.meta.url))

/** Runs an example with Node.js. It imports the built package by its name. */
const run = (...args: string[]) => execa(process.execPath, args, { cwd: RUNNERS, reject: false })

beforeAll(buildCli, 120_000)

test('a test of node:test uses a guest', async () => {
  const { stdout, exitCode } = await run('--test', 'node-test.mjs')
  expect(stdout).toMatch(/^(?:#|ℹ) pass 1$/m)
  expect(exitCode).toBe(0)
})

test.each(['script.mjs', 'commonjs.cjs'])('the script %s uses a guest', async (script) => {
  const { stdout, exitCode } = await run(script)
  expect(stdout).toBe('The guest runs Linux.')
  expect(exitCode).toBe(0)
})
