import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { expect } from 'vitest'
import { forkAll, launchVM, type VM, withVM } from 'withvm'
import { test } from 'withvm/vitest'
import { readLeases } from '../../../src/budget/lease-files.js'
import { failureOf } from '../../support/failure-of.js'
import { findLeftovers } from '../../support/leftovers.js'
import { ownPool } from '../../support/own-pool.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const options = { image: 'tiny', standby: false } as const

// Each test forks one guest, and sees what earlier tests have left in it.
test.override({ vmScope: 'file', vmReset: false, vmOptions: options })

const readCounter = async (vm: VM) => Number((await vm.exec('cat /tmp/count')).stdout)

/** Starts a process that counts in the guest's RAM. */
async function startCounter(vm: VM): Promise<void> {
  const loop = 'while :; do n=$((n + 1)); echo $n >/tmp/next; mv /tmp/next /tmp/count; usleep 20000; done'
  await vm.ssh(
    `n=0; setsid sh -c '${loop}' >/dev/null 2>&1 </dev/null & until [ -s /tmp/count ]; do usleep 20000; done`,
  )
}

/** Returns the numbers of folders, processes and leases of the guests below a folder, in this pool. */
function countTraces(folder: string): readonly number[] {
  const { folders, processes } = findLeftovers(folder)
  return [folders.length, processes.length, readLeases().length]
}

test('children of a fork continue from the moment of the fork, and do not see later changes', async ({
  vm,
}) => {
  await startCounter(vm)
  await vm.ssh`echo before >/root/disk; echo before >/tmp/ram`
  const inFlight = vm.ssh`echo started; sleep 2; echo done`
  const console = vm.serial.text
  const before = await readCounter(vm)
  await using children = await vm.fork(2)
  const all = [vm, ...children]
  const [left, right] = children
  expect(left.startedFrom).toEqual({
    kind: 'fork',
    parent: vm.id,
    method: 'pages',
    pauseMs: expect.any(Number),
  })
  for (const one of all) expect(await readCounter(one)).toBeGreaterThan(before)
  const counts = await Promise.all(all.map(readCounter))
  for (const [index, one] of all.entries()) {
    await expect.poll(() => readCounter(one)).toBeGreaterThan(counts[index] as number)
  }
  for (const [index, one] of all.entries())
    await one.ssh`echo ${index} >>/root/disk; echo ${index} >>/tmp/ram; sync`
  for (const [index, one] of all.entries()) {
    expect((await one.ssh`cat /root/disk /tmp/ram`).stdout).toBe(`before\n${index}\nbefore\n${index}`)
  }
  const random = await Promise.all(all.map((one) => one.exec('head -c 16 /dev/urandom | xxd -p')))
  expect(new Set(random.map(({ stdout }) => stdout)).size).toBe(3)
  expect(new Set(all.map((one) => one.hostPort(22))).size).toBe(3)
  expect(new Set(all.map((one) => one.runFolder)).size).toBe(3)
  expect(right.serial.text).toBe(console)
  expect((await inFlight).stdout).toBe('started\ndone')
})

test('with `identity: same`, children have the host name, machine id and keys of their parent', async ({
  vm,
}) => {
  const identify = async (one: VM) =>
    (await one.ssh`hostname; cat /etc/machine-id /sys/class/net/eth0/address /root/.ssh/authorized_keys`)
      .stdout
  await using children = await vm.fork(2, { identity: 'same', name: 'child' })
  const [one, two] = children
  expect([one.name, two.name]).toEqual(['child-1', 'child-2'])
  expect(await identify(one)).toBe(await identify(vm))
  expect(await identify(two)).toBe(await identify(vm))
  expect((await two.ssh`hostname`).stdout).toBe(vm.name)
  const { stdout } = await two.exec('date +%s')
  expect(Math.abs(Number(stdout) * 1000 - Date.now())).toBeLessThan(2000)
})

test('by default, children differ from each other and their parent in everything that identifies a guest', async ({
  vm,
}) => {
  const facts = {
    hostname: 'hostname',
    machineId: 'cat /etc/machine-id',
    authorizedKey: 'grep ssh /root/.ssh/authorized_keys',
    hostKey: 'dropbearkey -y -f /run/withvm/host-key | grep ssh-ed25519',
    random: 'head -c 16 /dev/urandom | xxd -p',
  }
  await using children = await vm.fork(2)
  const [child] = children
  await using grandchildren = await child.fork(1, { name: 'grandchild' })
  const all = [vm, ...children, ...grandchildren]
  expect(all.map(({ name }) => name)).toEqual(['tiny', 'tiny-1', 'tiny-2', 'grandchild'])
  for (const [fact, command] of Object.entries(facts)) {
    const values = await Promise.all(all.map(async (one) => (await one.ssh(command)).stdout))
    expect(new Set(values).size, `${fact}: ${values.join()}`).toBe(all.length)
    if (fact === 'hostname') expect(values).toEqual(all.map(({ name }) => name))
  }
})

test('a grandchild outlives its parent and grandparent, also across a power cut', async () => {
  ownPool()
  const tmpdir = ownTmpdir()
  const vm = await launchVM({ ...options, tmpdir })
  // Larger than an overlay that is copied, so each fork adds a layer.
  const write = (one: VM, name: string) =>
    one.ssh`dd if=/dev/urandom of=/root/${name} bs=1M count=6 2>/dev/null; sync; md5sum /root/${name}`
  const sums = [(await write(vm, 'first')).stdout]
  const [child] = await vm.fork()
  sums.push((await write(child, 'second')).stdout)
  const [grandchild] = await child.fork()
  await vm.dispose()
  await child.dispose()
  const read = async () => (await grandchild.ssh`md5sum /root/first /root/second`).stdout
  await grandchild.ssh`echo 3 >/proc/sys/vm/drop_caches`
  expect(await read()).toBe(sums.join('\n'))
  await grandchild.powerCut()
  await grandchild.start()
  expect(await read()).toBe(sums.join('\n'))
  await grandchild.dispose()
  expect(countTraces(tmpdir)).toEqual([0, 0, 0])
})

test('a guest whose disk became a layer keeps its disk across a power cut, and can be forked and saved', async () => {
  await using vm = await launchVM(options)
  await vm.ssh`dd if=/dev/urandom of=/root/big bs=1M count=6 2>/dev/null; echo one >/root/version; sync`
  await using first = await vm.fork()
  await vm.ssh`echo two >/root/version; sync`
  await vm.checkpoint('two')
  await vm.ssh`echo three >/root/version; sync`
  await using second = await vm.fork()
  await vm.restore('two')
  const read = async (one: VM) => (await one.ssh`cat /root/version`).stdout
  expect([await read(first[0]), await read(second[0]), await read(vm)]).toEqual(['one', 'three', 'two'])
  await vm.powerCut()
  await vm.start()
  expect(await read(vm)).toBe('two')
})

test('the layers of many forks are merged, and children keep their own', async () => {
  await using vm = await launchVM(options)
  const bytes = 5 * 1024 ** 2
  const write = (name: number) => vm.exec(`yes ${name} | head -c ${bytes} >/root/${name}; sync`)
  const sumOf = (name: number) =>
    createHash('md5')
      .update(`${name}\n`.repeat(bytes / 2))
      .digest('hex')
  await write(0)
  const [first] = await vm.fork()
  for (let fork = 1; fork <= 9; fork++) {
    await write(fork)
    const [child] = await vm.fork()
    await child.dispose()
  }
  // Nine overlays became layers, of which eight were merged.
  const layers = readdirSync(vm.runFolder).filter((name) => name.endsWith('.qcow2'))
  expect(layers.length).toBeLessThan(5)
  await vm.powerCut()
  await vm.start()
  const readSums = "md5sum /root/* | cut -d ' ' -f 1"
  expect((await vm.exec(readSums)).stdout.split('\n')).toEqual(
    Array.from({ length: 10 }, (_, at) => sumOf(at)),
  )
  await vm.dispose()
  await first.ssh`echo 3 >/proc/sys/vm/drop_caches`
  expect((await first.ssh(readSums)).stdout).toBe(sumOf(0))
  await first.dispose()
}, 480_000)

test('a checkpoint from before a fork can be restored after it', async ({ vm }) => {
  await vm.ssh`echo saved >/root/state`
  await vm.checkpoint('saved')
  await vm.ssh`echo forked >/root/state; sync`
  await using children = await vm.fork()
  await vm.restore('saved')
  expect((await vm.ssh`cat /root/state`).stdout).toBe('saved')
  expect((await children[0].ssh`cat /root/state`).stdout).toBe('forked')
})

test('a guest that was booted cold is forked by a migration, with its further disks', async () => {
  await using vm = await launchVM({ ...options, start: 'cold', disks: [{ size: '8M' }] })
  await vm.ssh`printf first | dd of=/dev/vdb 2>/dev/null; sync; echo kept >/tmp/ram`
  await using children = await vm.fork()
  const [child] = children
  expect(child.startedFrom).toMatchObject({ kind: 'fork', method: 'migration' })
  await vm.ssh`printf other | dd of=/dev/vdb 2>/dev/null; sync`
  const read = async (one: VM) => (await one.ssh`head -c 5 /dev/vdb; cat /tmp/ram`).stdout
  expect((await child.ssh`hostname`).stdout).toBe(child.name)
  expect(await read(child)).toBe('firstkept')
  expect(await read(vm)).toBe('otherkept')
})

test('guests of a LAN are forked together, and their children share a LAN of their own', async () => {
  const network = [{}, { hub: 'lan' }] as const
  const [client, server] = await Promise.all(
    [1, 2].map(async (number) => {
      const vm = await launchVM({ ...options, network })
      expect(vm.startedFrom.kind).toBe('template')
      await vm.ssh`ip addr add 192.168.7.${number}/24 dev eth1 && ip link set eth1 up`
      return vm
    }),
  )
  if (client === undefined || server === undefined) throw new Error('two guests were launched')
  await using _parents = {
    [Symbol.asyncDispose]: async () => void (await Promise.all([client.dispose(), server.dispose()])),
  }
  await server.ssh`mkdir -p /srv && echo parent >/srv/name && httpd -p 80 -h /srv`
  const fetchName = async (vm: VM) => (await vm.ssh`wget -q -O - http://192.168.7.2/name`).stdout
  expect(await fetchName(client)).toBe('parent')
  await using children = await forkAll([client, server])
  const [client2, server2] = children
  expect(server2.startedFrom).toMatchObject({ kind: 'fork', method: 'pages' })
  await server2.ssh`echo child >/srv/name`
  expect(await fetchName(client2)).toBe('child')
  expect(await fetchName(client)).toBe('parent')
})

test('a guest can be forked while it requests an address', async () => {
  await using vm = await launchVM({ ...options, ready: 'agent' })
  await vm.reboot() // the request is sent after the guest is ready
  await using children = await vm.fork(2)
  for (const child of children) expect((await child.ssh`hostname`).stdout).toBe(child.name)
})

test('a fork that fails or is aborted leaves nothing, and its parent continues', async () => {
  ownPool()
  const tmpdir = ownTmpdir()
  await using vm = await launchVM({ ...options, tmpdir })
  await startCounter(vm)
  const before = await readCounter(vm)
  const tooLate = AbortSignal.abort(new Error('too late'))
  await expect(vm.fork(2, { signal: tooLate })).rejects.toThrow('too late')
  for (const delayMs of [5, 60, 150]) {
    const signal = AbortSignal.timeout(delayMs)
    await expect(vm.fork(2, { signal })).rejects.toThrow('aborted')
  }
  expect(countTraces(tmpdir)).toEqual([1, 1, 1])
  await expect.poll(() => readCounter(vm)).toBeGreaterThan(before)
})

test('children that exceed the memory of the host budget are not started', async () => {
  ownPool({ WITHVM_MEMORY: '600M' })
  await using vm = await launchVM(options)
  const error = await failureOf(vm.fork(3))
  expect(error.code).toBe('HOST_TOO_SMALL')
  expect((await vm.exec('echo alive')).stdout).toBe('alive')
  expect(readLeases()).toHaveLength(1)
})

test('one guest can be forked by several calls at the same time', async ({ vm }) => {
  await vm.ssh`echo shared >/tmp/shared`
  const forks = await Promise.all([vm.fork(1, { name: 'a' }), vm.fork(2, { name: 'b' }), vm.fork()])
  const children = forks.flatMap((list) => [...list])
  expect(children.map(({ name }) => name)).toEqual(['a', 'b-1', 'b-2', 'tiny-1'])
  for (const child of children) expect((await child.exec('cat /tmp/shared')).stdout).toBe('shared')
  await Promise.all(children.map((child) => child.dispose()))
})

const leftOver: VM[] = []

test('a child of a shared guest is disposed of when its test ends, before the next test', async ({ vm }) => {
  leftOver.push(...(await vm.fork()))
  expect(leftOver[0]?.isRunning).toBe(true)
})

test('the next test finds that the child of a shared guest was disposed of', ({ vm }) => {
  expect([vm.isRunning, leftOver[0]?.isRunning]).toEqual([true, false])
})

test('`withVM()` disposes of the children of its guest, and their children', async () => {
  ownPool()
  const tmpdir = ownTmpdir()
  await withVM({ ...options, tmpdir }, async (vm) => {
    const [child] = await vm.fork()
    await child.fork()
    expect(countTraces(tmpdir)[1]).toBe(3)
  })
  expect(countTraces(tmpdir)).toEqual([0, 0, 0])
})

test('a guest that cannot be forked is reported with the reason', async () => {
  await using vm = await launchVM({ ...options, start: 'cold', ready: 'none', qemuArgs: ['-name', 'own'] })
  const error = await failureOf(vm.fork())
  expect(error.code).toBe('SAVE_UNSUPPORTED')
  expect(error.message).toContain('`qemuArgs` may name files and devices that cannot be shared')
  await vm.powerCut()
  expect((await failureOf(vm.fork())).code).toBe('VM_NOT_RUNNING')
})
