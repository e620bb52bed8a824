import { Declarations } from './declarations.mjs'
import { code, fence, linkPages, madeFrom, table, value } from './markdown.mjs'
import { COMMON, optionsPage } from './options-page.mjs'

const MAIN = 'fixtures/index.d.ts'
const VITEST = 'fixtures/vitest.d.ts'

/**
 * Sections: heading, entry point, names of functions or of one type, and an expression of that type. Members without
 * such an expression are fixtures.
 */
const SECTIONS = [
  ['Starting guests', MAIN, ['withVM', 'launchVM', 'launchVMs']],
  ['VM', MAIN, 'VM', 'vm'],
  ['Commands', MAIN, 'Ssh', 'vm.ssh'],
  ['Interactive shell', MAIN, 'ShellSession', 'shell'],
  ['Serial console', MAIN, 'SerialConsole', 'vm.serial'],
  ['Screen of the serial console', MAIN, 'SerialScreen', 'screen'],
  ['Ports', MAIN, 'GuestPort', 'port'],
  ['Waits', MAIN, 'WaitFor', 'vm.waitFor'],
  ['Checks', MAIN, 'checks', 'checks'],
  ['Invariants', MAIN, 'Invariant', 'invariant'],
  ['Keyboard', MAIN, 'Keyboard', 'vm.keyboard'],
  ['Mouse', MAIN, 'Mouse', 'vm.mouse'],
  ['Hot-plug', MAIN, 'Plug', 'vm.plug'],
  ['Plugged devices', MAIN, 'PluggedDevice', 'device'],
  ['Removable media', MAIN, 'Media', 'vm.media'],
  ['QMP', MAIN, 'QmpClient', 'vm.qmp'],
  ['Network boot', MAIN, 'Netboot', 'vm.netboot'],
  ['Builders of the option `netboot`', MAIN, 'netboot', 'netboot'],
  ['Images', MAIN, ['image', 'defineImage']],
  ['Prepared images', MAIN, 'PreparedImage', 'prepared'],
  ['Vitest', VITEST, ['test', 'maskVolatile']],
  ['Fixtures', VITEST, 'GuestFixtures', undefined],
  ['Matchers of consoles', VITEST, 'SerialMatchers', 'expect(vm.serial)'],
  ['Matchers of commands', VITEST, 'CommandMatchers', 'expect(command)'],
  ['Matchers of guests', VITEST, 'GuestMatchers', 'expect(vm)'],
]

const ERRORS = ['VMError', 'InfrastructureError', 'UsageError', 'GuestError', 'CommandError']

/** Files whose types are on the page of the options. The members of a base are there under the derived types. */
const OPTION_FILES =
  /^src\/spec\/(?:options|image-source|netboot|base-image)|^src\/common\/(?:duration|units)/

const INTRO = [
  'Functions, classes and types of `withvm` and `withvm/vitest`, from the comments of the source. All properties are read-only. [Options](options.md) lists the members of `VMOptions`, [errors](errors.md) the codes of errors.',
]

export async function apiPage(tools) {
  const { read, load } = tools
  const { ERROR_CODES } = await load('src/errors.js')
  const page = new ApiPage({
    declarations: new Declarations((file) => read(`dist/${file}`)),
    errorCodes: ERROR_CODES,
    optionNames: new Set(['VMOptions', ...(await optionsPage(tools)).match(/\w+/g)]),
  })
  const sections = SECTIONS.map((section) => page.renderSection(...section))
  const parts = [
    madeFrom('the published types'),
    '# API',
    ...INTRO,
    [...SECTIONS.map(([heading]) => heading), 'Errors', 'Types'].map(contentsItem).join('\n'),
    ...sections,
    ...page.renderErrors(),
    ...page.renderTypes(),
  ]
  return `${parts.join('\n\n')}\n`
}

function contentsItem(heading) {
  const anchor = heading
    .toLowerCase()
    .replaceAll(/[^\w -]/g, '')
    .replaceAll(' ', '-')
  return `- [${heading}](#${anchor})`
}

class ApiPage {
  #declarations
  #errorCodes
  #optionNames
  /** Names of declarations that have a section. */
  #shown = new Set()
  /** Code on the page, with the file whose imports it refers to. */
  #codes = []

  constructor({ declarations, errorCodes, optionNames }) {
    this.#declarations = declarations
    this.#errorCodes = errorCodes
    this.#optionNames = optionNames
  }

  renderSection(heading, entry, names, path) {
    const parts = [`## ${heading}`]
    if (Array.isArray(names)) {
      for (const name of names) parts.push(...this.#renderFunction(entry, name))
      return parts.join('\n\n')
    }
    const found = this.#require(entry, names)
    this.#shown.add(names)
    this.#codes.push({ file: found[0].file, code: found[0].head })
    if (path !== undefined && path !== names) parts.push(`${code(path)} is of type ${code(names)}.`)
    parts.push(...this.#renderComment(found[0].comment))
    const members = found[0].members.flatMap((member) => this.#followFunction(found[0], member))
    for (const name of new Set(members.map((member) => member.name))) {
      parts.push(
        ...this.#renderMember(
          path,
          members.filter((member) => member.name === name),
        ),
      )
    }
    return parts.join('\n\n')
  }

  renderErrors() {
    const classes = ERRORS.map((name) => this.#require(MAIN, name)[0])
    for (const { name } of classes) this.#shown.add(name)
    return ['## Errors', ...classes.flatMap((found) => this.#renderType(found))]
  }

  /** Returns the interfaces and types that the code on the page refers to, and all exported ones. */
  renderTypes() {
    for (const entry of [MAIN, VITEST]) {
      for (const name of this.#declarations.listExports(entry)) this.#codes.push({ file: entry, code: name })
    }
    const types = new Map()
    for (const { file, code: text } of this.#codes) {
      const isExported = file === MAIN || file === VITEST
      for (const [word] of text.replaceAll(/\/\*[\s\S]*?\*\/|'[^']*'/g, '').matchAll(/[A-Za-z]\w*/g)) {
        const found = this.#findType(file, word)
        if (found === undefined || this.#shown.has(found.name) || types.has(found.name)) continue
        if (OPTION_FILES.test(found.file) && (!isExported || this.#optionNames.has(found.name))) continue
        if (['function', 'const'].includes(found.kind)) {
          if (!isExported) continue
          throw new Error(`docs/generate: ${found.name} has no section in the page of the API`)
        }
        types.set(found.name, found)
        this.#codes.push({ file: found.file, code: found.code })
      }
    }
    const sorted = [...types.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
    return ['## Types', ...sorted.flatMap((found) => this.#renderType(found))]
  }

  #require(file, name) {
    const found = this.#declarations.find(file, name)
    if (found.length === 0) throw new Error(`docs/generate: ${file} does not export ${name}`)
    return found
  }

  /** Returns the declaration of a type. An alias that only sets the type of the guest is replaced by its target. */
  #findType(file, name) {
    const [found] = this.#declarations.find(file, name)
    const [, target] = /^type \w+(?:<.*>)? = (\w+)<(?:T, )?VM>$/.exec(found?.code ?? '') ?? []
    return target === undefined ? found : this.#findType(found.file, target)
  }

  #renderFunction(entry, name) {
    const found = this.#require(entry, name)
    this.#shown.add(name)
    this.#codes.push(...found)
    const isFunction = found[0].kind === 'function'
    return [
      `### ${code(isFunction ? `${name}()` : name)}`,
      fence('ts', found.map((one) => one.code.replace(/^(?:function|const) /, '')).join('\n')),
      ...found.flatMap(({ comment }) => this.#renderComment(comment)),
    ]
  }

  /** Replaces a member that is declared as `typeof someFunction` with that function. */
  #followFunction({ file }, member) {
    const [, name] = /^\w+: typeof (\w+)$/.exec(member.code) ?? []
    const found = name === undefined ? [] : this.#require(file, name)
    if (found.length === 0) return [{ ...member, file }]
    return found.map((one) => ({
      name: member.name,
      file: one.file,
      isMethod: true,
      code: one.code.replace(/^function /, ''),
      comment: one.comment,
    }))
  }

  #renderMember(path, overloads) {
    const [{ name, isMethod }] = overloads
    const signatures = overloads.map((one) => writeSignature(one))
    this.#codes.push(...overloads.map(({ file }, index) => ({ file, code: signatures[index] })))
    const member = name === '' || name.startsWith('[') ? name : `.${name}`
    const heading =
      path === undefined ? `Fixture ${code(name)}` : code(`${path}${member}${isMethod ? '()' : ''}`)
    return [
      `### ${heading}`,
      fence('ts', signatures.join('\n')),
      ...overloads.flatMap(({ comment }) => this.#renderComment(comment)),
    ]
  }

  #renderType(found) {
    const parts = [`### ${found.name}`, this.#renderText(found.comment)].filter((part) => part !== '')
    const isPlain = found.kind !== 'type' && found.members.every(({ isMethod }) => !isMethod)
    if (!isPlain) return [...parts, fence('ts', found.code)]
    const parents = /(?:class|interface) \w+(?:<.*?>)?(?: extends (.+?))?(?: implements .+)? \{/.exec(
      found.head,
    )?.[1]
    if (parents !== undefined) parts.push(`Extends ${code(parents)}.`)
    const rows = found.members.map(({ name, code: text, comment }) => {
      const type = text
        .replace(/^\w+\??: /, '')
        .replaceAll(/\s+/g, ' ')
        .replace(/ \| undefined$/, '')
      const meaning = this.#renderText(comment) || (type === 'AbortSignal' ? COMMON.signal : '')
      return [code(name), code(type), [meaning, ...this.#renderTags(comment)].join(' ').replaceAll('\n', ' ')]
    })
    return rows.length === 0 ? parts : [...parts, table(['Property', 'Type', 'Meaning'], rows)]
  }

  #renderComment(comment) {
    const tags = this.#renderTags(comment)
    const examples = comment.tags.filter(({ name }) => name === 'example')
    return [
      this.#renderText(comment),
      tags.map((tag) => `- ${tag}`).join('\n'),
      ...examples.map(({ text }) => fence('ts', text)),
    ].filter((part) => part !== '')
  }

  #renderText({ text }) {
    return linkPages(this.#markCodes(text))
  }

  #renderTags({ tags }) {
    return tags.flatMap(({ name, text }) => {
      if (name === 'example') return []
      if (name === 'default') return [`Default: ${endSentence(value(text))}`]
      if (name === 'returns') return [`Returns ${endSentence(this.#markCodes(text))}`]
      const [, first, rest] = /^(\S+) ?([\s\S]*)$/.exec(text)
      if (name === 'param') return [`${code(first)}: ${endSentence(this.#markCodes(rest))}`]
      const [, errorClass] = /^\{(\w+)\}$/.exec(first) ?? []
      const thrown = errorClass === undefined ? text : `${code(errorClass)} ${rest}`
      return [`Throws ${endSentence(this.#markCodes(thrown.trim()))}`]
    })
  }

  /** Marks codes of errors, and the class in `{Class} CODE`. */
  #markCodes(text) {
    const classes = text.replaceAll(/\{(\w+Error)\}(?= [A-Z]+_)/g, (_, name) => code(name))
    return classes.replaceAll(/(?<![`\w])[A-Z]+(?:_[A-Z]+)+(?![`\w])/g, (word) =>
      word in this.#errorCodes ? code(word) : word,
    )
  }
}

/** Returns the signature of a member. The type of a matcher is the function in it. */
function writeSignature({ name, code: text, isMethod }) {
  const matcher = /^\w+: For<T, [^,]+, ([\s\S]*)>$/.exec(text)?.[1]
  if (matcher === undefined) return isMethod ? text.replace(/^(\w+): (\([\s\S]*\)) => /, '$1$2: ') : text
  if (!matcher.startsWith('{')) return `${name}${matcher.replace(/\) => (?=Promise<void>$)/, '): ')}`
  return [...matcher.matchAll(/^ +(\(.*\): .*);$/gm)].map(([, overload]) => `${name}${overload}`).join('\n')
}

function endSentence(text) {
  return /[.…]$/.test(text) ? text : `${text}.`
}
