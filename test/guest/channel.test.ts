import { randomBytes } from 'node:crypto'
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { launchVM, type VM } from 'withvm'

let vm: VM
let here: string

beforeAll(async () => {
  here = mkdtempSync(join(tmpdir(), 'withvm-channel-'))
  vm = await launchVM({ image: 'tiny' })
})
afterAll(async () => {
  await vm?.[Symbol.asyncDispose]()
  rmSync(here, { recursive: true })
})

test('25 commands at a time all get their own answer, from a server that loses channels when it is hurried', async () => {
  const results = await Promise.all(Array.from({ length: 25 }, (_, index) => vm.ssh(`echo ${index}`)))
  expect(results.map((result) => result.stdout)).toEqual(results.map((_, index) => String(index)))
})

test('a command may write much to both streams at once', async () => {
  const command = 'head -c 5000000 /dev/zero & head -c 5000000 /dev/zero >&2; wait'
  const { stdout, stderr } = await vm.ssh(command)
  expect([stdout.length, stderr.length]).toEqual([5_000_000, 5_000_000])
})

test('a command that outlives its timeout gets a signal, and the connection stays usable', async () => {
  const error = await vm.ssh('echo $$; exec sleep 60', { timeout: '2s' }).catch((caught) => caught)
  expect(error).toMatchObject({ code: 'COMMAND_TIMEOUT', stdout: expect.stringMatching(/^\d+$/) })
  const isThere = async () => (await vm.ssh(`test -d /proc/${error.stdout}`, { reject: false })).exitCode
  await expect.poll(isThere, { timeout: 5000 }).toBe(1)
})

test('a folder with links goes in and comes out as it was', async () => {
  const source = join(here, 'tree')
  mkdirSync(source)
  writeFileSync(join(source, 'file'), randomBytes(1_000_003), { mode: 0o750 })
  symlinkSync('file', join(source, 'link'))
  symlinkSync('/nowhere', join(source, 'dangling'))
  await vm.upload(source, '/tmp/new/tree')
  expect((await vm.ssh`readlink /tmp/new/tree/link`).stdout).toBe('file')
  expect((await vm.ssh`readlink /tmp/new/tree/dangling`).stdout).toBe('/nowhere')
  await vm.download('/tmp/new/tree', join(here, 'back'))
  expect(readFileSync(join(here, 'back/file')).equals(readFileSync(join(source, 'file')))).toBe(true)
  expect(lstatSync(join(here, 'back/file')).mode & 0o777).toBe(0o750)
  expect(readlinkSync(join(here, 'back/link'))).toBe('file')
})

test('a copy to a full file system says so', async () => {
  writeFileSync(join(here, 'big'), randomBytes(2_000_000))
  await vm.ssh`mkdir /tmp/small && mount -t tmpfs -o size=1m none /tmp/small`
  await expect(vm.upload(join(here, 'big'), '/tmp/small/big')).rejects.toMatchObject({
    code: 'TRANSFER_FAILED',
    message: expect.stringContaining('The upload failed: no space left in the guest'),
  })
})

test('a file of the kernel that says it is empty is read to its end', async () => {
  await vm.download('/proc/meminfo', join(here, 'meminfo'))
  expect(readFileSync(join(here, 'meminfo'), 'utf8')).toMatch(/^MemTotal:.*\n(.|\n)*HugePages_Total/)
})
