/**
 * iroh in TypeScript: dial any endpoint by its public key.
 *
 * Node and browsers get the same names; what differs lies behind the `#` imports of `package.json`. There are two entries
 * because `exports` names one for each, so that either can be told apart by what bundlers and checks start from.
 *
 * @module
 */
export * from './index.browser.ts';
