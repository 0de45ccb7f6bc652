<?php
function step($name) { echo $name, "\n"; fgets(STDIN); }
function check($holds, $what) { if (!$holds) { fwrite(STDERR, "failed: $what\n"); exit(1); } }
$tls = getenv('TLS') === '1' ? ';sslmode=verify-full;sslrootcert=' . getenv('CA') : ';sslmode=disable';
$db = new PDO('pgsql:host=localhost;port=' . getenv('PORT') . ';dbname=shop' . $tls, 'app', getenv('PASSWORD'),
    [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
function one($sql) { global $db; return $db->query($sql)->fetchColumn(); }
function fails($sql) {
    global $db;
    try { $db->exec($sql); } catch (PDOException $e) { return $e->getCode(); }
    return null;
}
$twice = $db->prepare('SELECT ?::int * 2');
for ($n = 0; $n < 20; $n++) { $twice->execute([$n]); check($twice->fetchColumn() == 2 * $n, 'prepared'); }
$insert = $db->prepare("INSERT INTO driver_rows VALUES ('php-pdo', ?)");
$db->beginTransaction(); $insert->execute([1]); $db->rollBack();
check(one("SELECT count(*) FROM driver_rows WHERE driver = 'php-pdo'") == 0, 'rolled back');
$db->beginTransaction(); $insert->execute([1]); $db->commit();
$db->beginTransaction();
check(fails('SELECT 1 / 0') === '22012', 'division');
check(fails('SELECT 1') === '25P02', 'failed block');
$db->rollBack();
$rows = [];
for ($n = 0; $n < 1000; $n++) $rows[] = "php-pdo\t$n";
check($db->pgsqlCopyFromArray('driver_rows', $rows), 'copy in');
check(count($db->pgsqlCopyToArray("(SELECT * FROM driver_rows WHERE driver = 'php-pdo')")) === 1001, 'copy out');
// PDO has no cancel; a statement time-out is what it has.
$db->exec("SET statement_timeout = '500ms'");
check(fails('SELECT pg_sleep(30)') === '57014', 'time-out');
$db->exec('RESET statement_timeout');
step('restart');
check(one('SELECT 1') == 1, 'after the restart');
step('seal');
check(one("SELECT count(*) FROM driver_rows WHERE driver = 'php-pdo'") == 1001, 'read while sealed');
check(fails("INSERT INTO driver_rows VALUES ('php-pdo', 2)") === '25006', 'refused');
step('open');
$insert->execute([2]);
echo "done\n";
