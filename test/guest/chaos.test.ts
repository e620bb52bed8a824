import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { buildCli } from '../support/built-cli.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

// The test runs programs that import the built package.
beforeAll(buildCli)

test('programs that are killed or stopped at random moments leave nothing behind, and the next run succeeds', async () => {
  const root = new URL('../../', import.meta.url).pathname
  const { stdout, stderr, exitCode } = await execa(
    process.execPath,
    ['bench/chaos.mjs', '--rounds', '3', '--seed', '1'],
    { cwd: root, reject: false, env: { TMPDIR: ownTmpdir() } },
  )
  expect(exitCode, `${stdout}\n${stderr}`).toBe(0)
  expect(stdout).toMatch(/^round 0: kill-test-process after \d+ ms: ok\n/)
  expect(stdout).toContain('3 rounds of seed 1: nothing is left, and each next run succeeded')
})
