package main

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	"github.com/lib/pq"
)

var db *sql.Conn
var ctx = context.Background()
var input = bufio.NewReader(os.Stdin)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(holds bool, what string) {
	if !holds {
		panic(what)
	}
}

func step(name string) {
	fmt.Println(name)
	input.ReadString('\n')
}

func code(err error) string {
	if failed, is := err.(*pq.Error); is {
		return string(failed.Code)
	}
	return fmt.Sprint(err)
}

func fails(text string) string {
	_, err := db.ExecContext(ctx, text)
	return code(err)
}

func one(text string) (n int) {
	must(db.QueryRowContext(ctx, text).Scan(&n))
	return
}

func main() {
	mode := "sslmode=disable"
	if os.Getenv("TLS") == "1" {
		mode = "sslmode=verify-full sslrootcert=" + os.Getenv("CA")
	}
	pool, err := sql.Open("postgres", fmt.Sprintf("host=localhost port=%s user=app password=%s dbname=shop %s", os.Getenv("PORT"), os.Getenv("PASSWORD"), mode))
	must(err)
	db, err = pool.Conn(ctx)
	must(err)
	twice, err := db.PrepareContext(ctx, "SELECT $1::int * 2")
	must(err)
	for n := 0; n < 20; n++ {
		var got int
		must(twice.QueryRow(n).Scan(&got))
		check(got == 2*n, "prepared")
	}
	tx, err := db.BeginTx(ctx, nil)
	must(err)
	_, err = tx.Exec("INSERT INTO driver_rows VALUES ('lib/pq', $1)", 1)
	must(err)
	must(tx.Rollback())
	check(one("SELECT count(*) FROM driver_rows WHERE driver = 'lib/pq'") == 0, "rolled back")
	tx, err = db.BeginTx(ctx, nil)
	must(err)
	_, err = tx.Exec("INSERT INTO driver_rows VALUES ('lib/pq', $1)", 1)
	must(err)
	must(tx.Commit())
	must2 := func(_ sql.Result, err error) { must(err) }
	must2(db.ExecContext(ctx, "BEGIN"))
	check(fails("SELECT 1 / 0") == "22012", "division")
	check(fails("SELECT 1") == "25P02", "failed block")
	must2(db.ExecContext(ctx, "ROLLBACK"))
	tx, err = db.BeginTx(ctx, nil)
	must(err)
	copyIn, err := tx.Prepare(pq.CopyIn("driver_rows", "driver", "n"))
	must(err)
	for n := 0; n < 1000; n++ {
		must2(copyIn.Exec("lib/pq", n))
	}
	must2(copyIn.Exec())
	must(copyIn.Close())
	must(tx.Commit())
	check(one("SELECT count(*) FROM driver_rows WHERE driver = 'lib/pq'") == 1001, "copy")
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	_, err = db.ExecContext(short, "SELECT pg_sleep(30)")
	cancel()
	check(code(err) == "57014", "cancelled: "+code(err))
	db, err = pool.Conn(ctx)  // this driver gives up a connection that it has cancelled on
	must(err)
	step("restart")
	check(one("SELECT 1") == 1, "after the restart")
	step("seal")
	check(one("SELECT count(*) FROM driver_rows WHERE driver = 'lib/pq'") == 1001, "read while sealed")
	check(fails("INSERT INTO driver_rows VALUES ('lib/pq', 2)") == "25006", "refused")
	step("open")
	must2(db.ExecContext(ctx, "INSERT INTO driver_rows VALUES ('lib/pq', $1)", 2))
	fmt.Println("done")
}
