import tseslint from 'typescript-eslint';

const clock = 'Time is an argument or a Clock, so that it can be simulated (docs/decisions.md).';
const banned = (...names) => names.map((name) => ({ name, message: clock }));
const timers = banned('setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask');

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'coverage/', '.rust/', 'test/interop/rust-peer/'] },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/prefer-promise-reject-errors': 'off',
      '@typescript-eslint/only-throw-error': 'off',
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/require-await': 'off',
      // Value classes have toString.
      '@typescript-eslint/restrict-template-expressions': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  {
    // One clock for everything: transport/ has the real one.
    files: ['src/**/*.ts'],
    ignores: ['src/transport/**', 'src/cli/**'],
    rules: {
      'no-restricted-globals': ['error', ...timers, ...banned('performance')],
      'no-restricted-properties': [
        'error',
        // Calendar arithmetic is fine, the present moment is not.
        { object: 'Date', property: 'now', message: clock },
        { object: 'AbortSignal', property: 'timeout', message: clock },
        {
          object: 'Math',
          property: 'random',
          message: 'Randomness comes from an Rng, so that a run can be replayed.',
        },
      ],
    },
  },
  {
    // Engines: bytes and `now` in, bytes and events out.
    files: ['base', 'tls', 'quic', 'relay', 'net-report', 'address-lookup', 'machines'].map(
      (folder) => `src/${folder}/**/*.ts`,
    ),
    rules: {
      'no-restricted-syntax': [
        'error',
        { selector: 'AwaitExpression, :function[async=true]', message: 'Engines are synchronous.' },
        { selector: 'NewExpression[callee.name="Promise"]', message: 'Engines are synchronous.' },
      ],
      'no-restricted-globals': [
        'error',
        ...timers,
        ...banned('performance'),
        { name: 'Buffer', message: 'The core runs in browsers.' },
        { name: 'process', message: 'The core runs in browsers.' },
      ],
    },
  },
  {
    // XState reads a chart's types from the type of an empty object.
    files: ['src/machines/**/*.ts'],
    rules: { '@typescript-eslint/no-unnecessary-type-assertion': 'off' },
  },
  { files: ['test/**/*.ts'], rules: { '@typescript-eslint/no-unsafe-assignment': 'off' } },
);
