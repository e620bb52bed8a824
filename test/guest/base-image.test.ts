import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, test } from 'vitest'
import { resolveImage } from '../../src/image/resolve-image.js'
import { buildCli } from '../support/built-cli.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { runScript } from '../support/run-script.js'

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash.digest('hex')
}

const WRITES = `
await withVM({}, async (vm) => {
  await vm.ssh\`dd if=/dev/urandom of=/root/noise bs=1M count=200; sync\`
})
`

beforeAll(buildCli)

test('runs that are killed at random moments leave the base image bit-identical', async () => {
  const { disk, directBoot } = await resolveImage('tiny')
  const files = [disk?.path, directBoot?.kernel, directBoot?.initrd] as string[]
  const before = await Promise.all(files.map(sha256))
  const tmpdir = ownTmpdir()
  // Two at a time. The kill happens between the start of QEMU and the middle of the guest's writes.
  for (let round = 0; round < 4; round++) {
    const scripts = [runScript(tmpdir, WRITES, `a${round}`), runScript(tmpdir, WRITES, `b${round}`)]
    await sleep(300 + Math.random() * 4500)
    for (const script of scripts) script.kill('SIGKILL')
    await Promise.all(scripts)
  }
  await expect.poll(() => findLeftovers(tmpdir).processes, { timeout: 2000 }).toEqual([])
  await runScript(tmpdir, `await withVM({ ready: 'none' }, () => {})`)
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  expect(await Promise.all(files.map(sha256))).toEqual(before)
})
