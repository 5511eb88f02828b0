/**
 * Builds a copy of the sources for fuzzing, with a counter on every branch.
 *
 * Each file is transpiled by itself, as the product's build does, and nothing is merged or minified. A branch is: an arm of
 * `if`, `?:` and `switch` (also the ones that are not written), the right side of `&&`, `||`, `??` and of their
 * assignments, the body of a loop or `catch`, a default value, and the entry of a function.
 */
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import ts from 'typescript';

const COUNTERS = '__branches';
const SOURCES = ['src', 'test/fuzz', 'test/support'];

const LOGICAL = new Set([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
  ts.SyntaxKind.AmpersandAmpersandEqualsToken,
  ts.SyntaxKind.BarBarEqualsToken,
  ts.SyntaxKind.QuestionQuestionEqualsToken,
]);

/** What a function is called in reports. */
function nameOf(node) {
  if (node.name !== undefined) return node.name.getText();
  if (ts.isConstructorDeclaration(node)) return 'constructor';
  const { parent } = node;
  if (parent !== undefined && (ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent)))
    return parent.name.getText();
  return '';
}

/** @param branches - Gets one entry per counter. */
function counting(file, branches) {
  return (context) => {
    const { factory: f } = context;
    let functionName = '';

    const count = (node, kind) => {
      const source = node.getSourceFile();
      const { line } = source.getLineAndCharacterOfPosition(node.getStart(source));
      branches.push({ file, line: line + 1, kind, function: functionName });
      const counter = f.createElementAccessExpression(f.createIdentifier(COUNTERS), branches.length - 1);
      return f.createPostfixIncrement(counter);
    };
    const countStatement = (node, kind) => f.createExpressionStatement(count(node, kind));
    const counted = (node, kind, expression) =>
      f.createParenthesizedExpression(f.createComma(count(node, kind), expression));
    const block = (node, kind, statement) =>
      f.createBlock(
        [countStatement(node, kind), ...(ts.isBlock(statement) ? statement.statements : [statement])],
        true,
      );

    const visit = (node) => {
      if (ts.isFunctionLike(node) && node.body !== undefined) {
        const outer = functionName;
        const name = nameOf(node);
        if (name !== '') functionName = name;
        const entry = count(node, 'function');
        const inner = ts.visitEachChild(node, visit, context);
        functionName = outer;
        const body = ts.isBlock(inner.body)
          ? f.createBlock(withEntry(inner.body.statements, f.createExpressionStatement(entry)), true)
          : f.createParenthesizedExpression(f.createComma(entry, inner.body));
        return withBody(f, inner, body);
      }
      const n = ts.visitEachChild(node, visit, context);
      if (ts.isIfStatement(n)) {
        const otherwise = n.elseStatement ?? f.createBlock([]);
        return f.updateIfStatement(
          n,
          n.expression,
          block(node.thenStatement, 'then', n.thenStatement),
          block(node.elseStatement ?? node, 'else', otherwise),
        );
      }
      if (ts.isConditionalExpression(n)) {
        return f.updateConditionalExpression(
          n,
          n.condition,
          n.questionToken,
          counted(node.whenTrue, 'then', n.whenTrue),
          n.colonToken,
          counted(node.whenFalse, 'else', n.whenFalse),
        );
      }
      if (ts.isBinaryExpression(n) && LOGICAL.has(n.operatorToken.kind)) {
        return f.updateBinaryExpression(n, n.left, n.operatorToken, counted(node.right, 'right', n.right));
      }
      if (ts.isCaseClause(n)) {
        return f.updateCaseClause(n, n.expression, [countStatement(node, 'case'), ...n.statements]);
      }
      if (ts.isDefaultClause(n))
        return f.updateDefaultClause(n, [countStatement(node, 'default'), ...n.statements]);
      if (ts.isCatchClause(n)) {
        return f.updateCatchClause(n, n.variableDeclaration, block(node, 'catch', n.block));
      }
      if (ts.isForStatement(n)) {
        return f.updateForStatement(
          n,
          n.initializer,
          n.condition,
          n.incrementor,
          block(node, 'loop', n.statement),
        );
      }
      if (ts.isForOfStatement(n)) {
        return f.updateForOfStatement(
          n,
          n.awaitModifier,
          n.initializer,
          n.expression,
          block(node, 'loop', n.statement),
        );
      }
      if (ts.isWhileStatement(n))
        return f.updateWhileStatement(n, n.expression, block(node, 'loop', n.statement));
      if (ts.isParameter(n) && n.initializer !== undefined) {
        return f.updateParameterDeclaration(
          n,
          n.modifiers,
          n.dotDotDotToken,
          n.name,
          n.questionToken,
          n.type,
          counted(node.initializer, 'default value', n.initializer),
        );
      }
      return n;
    };
    return (sourceFile) => ts.visitNode(sourceFile, visit);
  };
}

/** The counter after directives and `super()`, without which a constructor must not touch anything. */
function withEntry(statements, entry) {
  const at = statements.findIndex(
    (s) =>
      ts.isExpressionStatement(s) &&
      ts.isCallExpression(s.expression) &&
      s.expression.expression.kind === ts.SyntaxKind.SuperKeyword,
  );
  return [...statements.slice(0, at + 1), entry, ...statements.slice(at + 1)];
}

function withBody(f, n, body) {
  if (ts.isArrowFunction(n))
    return f.updateArrowFunction(
      n,
      n.modifiers,
      n.typeParameters,
      n.parameters,
      n.type,
      n.equalsGreaterThanToken,
      body,
    );
  if (ts.isFunctionDeclaration(n))
    return f.updateFunctionDeclaration(
      n,
      n.modifiers,
      n.asteriskToken,
      n.name,
      n.typeParameters,
      n.parameters,
      n.type,
      body,
    );
  if (ts.isFunctionExpression(n))
    return f.updateFunctionExpression(
      n,
      n.modifiers,
      n.asteriskToken,
      n.name,
      n.typeParameters,
      n.parameters,
      n.type,
      body,
    );
  if (ts.isMethodDeclaration(n))
    return f.updateMethodDeclaration(
      n,
      n.modifiers,
      n.asteriskToken,
      n.name,
      n.questionToken,
      n.typeParameters,
      n.parameters,
      n.type,
      body,
    );
  if (ts.isConstructorDeclaration(n))
    return f.updateConstructorDeclaration(n, n.modifiers, n.parameters, body);
  if (ts.isGetAccessorDeclaration(n))
    return f.updateGetAccessorDeclaration(n, n.modifiers, n.name, n.parameters, n.type, body);
  return f.updateSetAccessorDeclaration(n, n.modifiers, n.name, n.parameters, body);
}

/**
 * Writes the instrumented copy.
 * @returns Its folder, and what each counter counts.
 */
export function buildInstrumented(root, out) {
  rmSync(out, { recursive: true, force: true });
  const branches = [];
  for (const folder of SOURCES) {
    for (const name of readdirSync(join(root, folder), { recursive: true })) {
      if (!name.endsWith('.ts') || name.endsWith('.test.ts')) continue;
      const file = join(folder, name);
      const isProduct = folder === 'src';
      const { outputText } = ts.transpileModule(readFileSync(join(root, file), 'utf8'), {
        fileName: file,
        compilerOptions: {
          target: ts.ScriptTarget.ES2022,
          module: ts.ModuleKind.ESNext,
          rewriteRelativeImportExtensions: true,
          verbatimModuleSyntax: true,
        },
        transformers: { before: isProduct ? [counting(relative('.', file), branches)] : [] },
      });
      const target = join(out, file.replace(/\.ts$/, '.js'));
      mkdirSync(dirname(target), { recursive: true });
      const prelude = isProduct ? `const ${COUNTERS} = globalThis.${COUNTERS};\n` : '';
      writeFileSync(target, prelude + outputText);
    }
  }
  const { imports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const twins = Object.fromEntries(
    // What always runs from dist/ names its source for types only.
    Object.entries(imports).map(([name, { source, types }]) => [
      name,
      (source ?? types).replace(/\.ts$/, '.js'),
    ]),
  );
  writeFileSync(join(out, 'package.json'), JSON.stringify({ type: 'module', imports: twins }));
  return branches;
}
