import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { findQemu } from '../../../../src/host/qemu-binary.js'
import { findLeftovers, NOTHING } from '../../../support/leftovers.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

const OPTIONS = { ready: 'none', log: () => {} } as const

/** Makes a QEMU whose port is taken at its first start, as if another program was faster. */
async function qemuThatLosesAPort(folder: string) {
  const { path } = await findQemu()
  const taken = join(folder, 'taken')
  const wrapper = join(folder, 'qemu-system-x86_64')
  writeFileSync(
    wrapper,
    `#!/bin/sh
case "$*" in
  *hostfwd=*)
    if [ ! -e ${taken} ]; then
      rule=$(echo "$*" | sed 's/.*hostfwd=\\(tcp:[0-9.]*:[0-9]*-:[0-9]*\\).*/\\1/')
      echo "$rule" >${taken}
      echo "qemu-system-x86_64: -netdev user: Could not set up host forwarding rule '$rule'" >&2
      exit 1
    fi ;;
esac
exec ${path} "$@"
`,
    { mode: 0o755 },
  )
  return { wrapper, taken }
}

test('a port that another program has taken in the meantime is replaced', async () => {
  const folder = ownTmpdir()
  const { wrapper, taken } = await qemuThatLosesAPort(folder)
  await using vm = await launchVM({ ...OPTIONS, qemu: wrapper })
  expect(existsSync(taken)).toBe(true)
  expect(readFileSync(taken, 'utf8')).not.toContain(`:${vm.hostPort(22)}-`)
  expect(vm.isRunning).toBe(true)
})

test('guests that start simultaneously get different ports', async () => {
  const tmpdir = ownTmpdir()
  const options = { ...OPTIONS, tmpdir, memory: '64M', hostfwd: [{ guest: 80 }] }
  const guests = await Promise.all(Array.from({ length: 6 }, () => launchVM(options)))
  const ports = guests.flatMap((vm) => [vm.hostPort(22), vm.hostPort(80)])
  expect(new Set(ports).size).toBe(12)
  await Promise.all(guests.map((vm) => vm.dispose()))
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})
