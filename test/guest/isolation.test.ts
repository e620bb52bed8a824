import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { launchVM, withVM } from 'withvm'
import { rejection } from '../support/messages.js'
import { listUnixSockets } from '../support/unix-sockets.js'

const sha256 = async (path: string) =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex')

/** Lists the open abstract sockets and socket files of this host whose names contain `text`. */
function openSockets(text: string): string[] {
  return listUnixSockets().filter((path) => path.includes(text))
}

test('two concurrent guests have separate ports, disks and keys, and leave nothing behind', async () => {
  const quiet = { image: 'tiny', log: () => {} }
  const [one, two] = await Promise.all([
    launchVM({ ...quiet, name: 'one', hostfwd: [{ guest: 80 }] }),
    launchVM({ ...quiet, name: 'two', hostfwd: [{ guest: 80 }] }),
  ])
  const base = one.baseDisk as string
  expect(two.baseDisk).toBe(base)
  const before = await sha256(base)
  const ports = [one.hostPort(22), one.hostPort(80), two.hostPort(22), two.hostPort(80)]
  expect(new Set(ports).size).toBe(4)
  expect(two.runFolder).not.toBe(one.runFolder)

  await one.ssh`echo of one >/root/note; rm /etc/os-release; sync`
  await two.ssh`echo of two >/root/note; sync`
  expect((await one.ssh`hostname; cat /root/note`).stdout).toBe('one\nof one')
  expect((await two.ssh`hostname; cat /root/note; test -e /etc/os-release`).stdout).toBe('two\nof two')
  const readKey = '/root/.ssh/authorized_keys'
  expect((await one.ssh`cat ${readKey}`).stdout).not.toBe((await two.ssh`cat ${readKey}`).stdout)

  const runs = [one, two].map(({ pid, runFolder }) => ({ pid, runFolder }))
  for (const { runFolder } of runs) expect(openSockets(runFolder)).not.toEqual([])
  await one.dispose()
  expect((await two.ssh`cat /root/note`).stdout).toBe('of two')
  await Promise.all([two.dispose(), two.dispose()])
  for (const { pid, runFolder } of runs) {
    expect(existsSync(`/proc/${pid}`)).toBe(false)
    expect(existsSync(runFolder)).toBe(false)
    expect(openSockets(runFolder.slice(runFolder.lastIndexOf('/') + 1))).toEqual([])
  }
  for (const port of ports) expect(openSockets(`withvm-port-tcp-${port}`)).toEqual([])
  expect(await sha256(base)).toBe(before)

  for (const use of [() => one.ssh`true`, () => one.exec('true'), () => one.start(), () => one.shutdown()]) {
    const error = await rejection((async () => use())())
    expect(error.message).toBe(
      'The guest was disposed of.\nFix: Use the guest only inside the body of `withVM()`, and await every promise there.',
    )
  }
})

test('changes of one guest are not visible in the next guest', async () => {
  const digests: string[] = []
  for (let round = 1; round <= 2; round++) {
    await withVM({ image: 'tiny', log: () => {} }, async (vm) => {
      expect((await vm.ssh`ls -A /root`).stdout).toBe('.ssh')
      await vm.ssh`echo ${round} >/root/left-behind; rm -rf /srv /opt; sync`
      digests.push(await sha256(vm.baseDisk as string))
    })
  }
  expect(digests[1]).toBe(digests[0])
})
