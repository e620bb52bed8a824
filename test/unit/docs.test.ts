import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { buildCli } from '../support/built-cli.js'

const GENERATE = new URL('../../docs/generate.mjs', import.meta.url).pathname

beforeAll(buildCli, 120_000)

test('the documentation equals the output of `npm run docs`', async () => {
  const { stdout, stderr } = await execa(process.execPath, [GENERATE, '--check'], { reject: false })
  expect(stdout + stderr, 'run `npm run docs` and commit what it changes').toBe('')
})
