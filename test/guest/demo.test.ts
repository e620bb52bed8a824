import { join } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { buildCli } from '../support/built-cli.js'

const ROOT = join(import.meta.dirname, '../..')

beforeAll(buildCli)

test('the demo succeeds, and the README contains its output', async () => {
  const { stdout, exitCode } = await execa(process.execPath, ['examples/demo.mjs'], {
    cwd: ROOT,
    reject: false,
  })
  expect(exitCode).toBe(0)
  const shown = stdout
    .replaceAll(/\d+\.\d s/g, '… s')
    .replace(/under (TCG|KVM)/, 'under …')
    .replace(/Linux \d\S+/, 'Linux 6.…')
    .replace(/\/dev\/vda .*/, '/dev/vda …')
    .replace(/sha256 \w+…/, 'sha256 …')
  await expect(`${shown}\n`).toMatchFileSnapshot('../../examples/output/demo.txt')
})
