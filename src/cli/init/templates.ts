import type { PackageCommands } from './project.js'

/** Settings of the files that `withvm init` writes. */
export interface TemplateSettings {
  /** Folder of the tests, relative to the project, with `/`. */
  readonly tests: string
  /** If true, the files are JavaScript, else TypeScript. */
  readonly isJavaScript: boolean
  /** If true, Node.js takes the files of the project for ES modules. */
  readonly isModule: boolean
  readonly packages: PackageCommands
}

/** Lines of .gitignore: dependencies, logs of failed guests, attachments of Vitest. */
export const IGNORED = ['node_modules/', 'test-results/', '.vitest-attachments/'] as const

export const PACKAGE = `{
  "private": true,
  "type": "module",
  "scripts": {
    "test": "vitest run"
  }
}
`

export function vitestConfig({ tests, isJavaScript }: TemplateSettings): string {
  return `import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['${tests}/**/*.test.${isJavaScript ? 'js' : 'ts'}'],
    // The first run builds the image, and boots the guest that later runs are cloned from.
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
})
`
}

export const FIRST_TEST = `import { expect, test } from 'withvm/vitest'

// The guest is new for each test, and is removed after it.
test('a synced file survives a power cut', async ({ vm }) => {
  await vm.ssh\`echo hello >/root/note && sync\`
  await vm.powerCut()
  await vm.start()
  await expect(vm.ssh\`cat /root/note\`).toPrint('hello')
})

test('two guests run at the same time', async ({ launch }) => {
  await using first = await launch({ name: 'first' })
  await using second = await launch({ name: 'second' })
  await expect(first.ssh\`hostname\`).toPrint('first')
  await expect(second.ssh\`hostname\`).toPrint('second')
})
`

/**
 * Configuration of TypeScript. The files of a project without \`"type": "module"\` are ES modules
 * for Vitest, but not for Node.js, whose rules are then not applied.
 */
export function typescriptConfig({ tests, isModule }: TemplateSettings): string {
  const modules = isModule
    ? '"module": "NodeNext",'
    : `"module": "Preserve",
    "moduleResolution": "Bundler",`
  return `{
  "compilerOptions": {
    "target": "ES2022",
    // Disposable: the types of \`await using\`.
    "lib": ["ES2023", "ESNext.Disposable"],
    ${modules}
    "types": ["node"],
    "strict": true,
    "skipLibCheck": true,
    "noEmit": true
  },
  "include": ["${tests}", "vitest.config.*"]
}
`
}

/** Workflow of GitHub Actions. */
export function workflow({ packages }: TemplateSettings): string {
  const cache = packages.cache === undefined ? '' : `, cache: ${packages.cache}`
  return `name: Guest tests
on:
  push:
  pull_request:

jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-node@v4
        with: { node-version: 22${cache} }
      - uses: actions/cache@v4
        with:
          path: ~/.cache/withvm/images
          key: withvm-\${{ runner.os }}-\${{ hashFiles('**/package-lock.json', '**/pnpm-lock.yaml', '**/yarn.lock') }}
          restore-keys: withvm-\${{ runner.os }}-
      # Runners have /dev/kvm, but only root may open it. udev would revert a chmod, so add a rule.
      - run: |
          echo 'KERNEL=="kvm", GROUP="kvm", MODE="0666", OPTIONS+="static_node=kvm"' | sudo tee /etc/udev/rules.d/99-kvm.rules
          sudo udevadm control --reload-rules && sudo udevadm trigger --name-match=kvm
      - run: ${packages.install}
      - run: npx withvm setup
      - run: npx vitest run
      - uses: actions/upload-artifact@v4
        if: failure()
        with: { name: guests, path: test-results, if-no-files-found: ignore }
`
}
