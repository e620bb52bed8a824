import { readdirSync, readFileSync } from 'node:fs'
import { beforeAll, expect, test } from 'vitest'
import { launchVM, withVM } from 'withvm'
import { buildCli } from '../../support/built-cli.js'
import { findLeftovers, NOTHING } from '../../support/leftovers.js'
import { ownPool } from '../../support/own-pool.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { runScript } from '../../support/run-script.js'

const options = { image: 'tiny', standby: true, log: () => {} } as const

beforeAll(buildCli)

/** Lists the processes of guests with this name. */
function qemusNamed(name: string): number[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`guest=${name}\0`)
      } catch {
        return false
      }
    })
    .map(Number)
}

const identify = 'cat /etc/machine-id /sys/class/net/eth0/address; head -c 16 /dev/urandom | xxd -p'

test('a standby is started while a guest is in use, and has its own identity', async () => {
  ownPool() // other tests take no capacity from this pool
  const name = 'next-one'
  const seen: string[] = []
  for (let run = 0; run < 3; run++) {
    await using vm = await launchVM({ ...options, name })
    expect(vm.startedFrom.kind).toBe(run === 0 ? 'template' : 'standby')
    const { stdout } = await vm.ssh(`${identify}; date +%s`)
    expect(Math.abs(Number(stdout.split('\n').at(-1)) * 1000 - Date.now())).toBeLessThan(3000)
    seen.push(...stdout.split('\n').slice(0, 3))
    await expect.poll(() => qemusNamed(name).length, { timeout: 20_000 }).toBeGreaterThan(1)
  }
  expect(new Set(seen).size).toBe(9)
})

test('a standby whose QEMU was killed is not used', async () => {
  ownPool() // other tests take no capacity from this pool
  const name = 'killed-one'
  const first = await launchVM({ ...options, name })
  await expect.poll(() => qemusNamed(name).length, { timeout: 20_000 }).toBeGreaterThan(1)
  await new Promise((resolve) => setTimeout(resolve, 1500))
  for (const pid of qemusNamed(name)) if (pid !== first.pid) process.kill(pid, 'SIGKILL')
  await first.dispose()
  await withVM({ ...options, name }, async (vm) => {
    expect((await vm.ssh`echo alive`).stdout).toBe('alive')
  })
})

test('a standby is used only for a guest with the same options', async () => {
  ownPool() // other tests take no capacity from this pool
  await using one = await launchVM({ ...options, name: 'kind-a' })
  await using other = await launchVM({ ...options, name: 'kind-b', hostfwd: [{ guest: 80 }] })
  expect((await one.ssh`hostname`).stdout).toBe('kind-a')
  expect((await other.ssh`hostname`).stdout).toBe('kind-b')
  expect(other.hostPort(80)).toBeGreaterThan(0)
})

test('no standby is started with `standby: false`, and none outlives its process', async () => {
  ownPool() // other tests take no capacity from this pool
  const tmpdir = ownTmpdir()
  // The first standby appears as soon as the host has started it.
  const source = `
    const kinds = []
    while (kinds.length < 3 || (kinds.at(-1) !== 'standby' && kinds.length < MOST)) {
      await withVM({ log: () => {}, standby: STANDBY }, async (vm) => {
        kinds.push(vm.startedFrom.kind)
        await new Promise((resolve) => setTimeout(resolve, 300))
      })
    }
    console.log(kinds.join(' '))
    const started = performance.now()
    process.on('exit', () => console.log(Math.round(performance.now() - started)))`
  const { stdout } = await runScript(tmpdir, source.replace('MOST', '20').replace('STANDBY', 'true'))
  const [kinds = '', endedAfterMs] = String(stdout).split('\n')
  expect(kinds).toMatch(/^template (.* )?standby$/)
  // The program ends soon, although it has standbys.
  expect(Number(endedAfterMs)).toBeLessThan(5000)
  await expect.poll(() => findLeftovers(tmpdir), { timeout: 2000 }).toEqual(NOTHING)
  const without = await runScript(tmpdir, source.replace('MOST', '3').replace('STANDBY', 'false'), 'without')
  expect(String(without.stdout).split('\n')[0]).toBe('template template template')
})
