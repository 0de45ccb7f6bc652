import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class JdbcClient {
    static Connection db;

    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static void step(String name) throws Exception {
        System.out.println(name);
        System.out.flush();
        while (System.in.read() != '\n') {}
    }

    static String fails(String sql) {
        try (Statement statement = db.createStatement()) {
            statement.execute(sql);
        } catch (SQLException error) {
            return error.getSQLState();
        }
        return null;
    }

    static int one(String sql) throws SQLException {
        try (Statement statement = db.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getInt(1);
        }
    }

    static void insert(int n) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement("INSERT INTO driver_rows VALUES ('jdbc', ?)")) {
            statement.setInt(1, n);
            statement.executeUpdate();
        }
    }

    public static void main(String[] arguments) throws Exception {
        Properties options = new Properties();
        options.setProperty("user", "app");
        options.setProperty("password", System.getenv("PASSWORD"));
        options.setProperty("sslmode", System.getenv("TLS").equals("1") ? "verify-full" : "disable");
        options.setProperty("sslrootcert", System.getenv("CA"));
        options.setProperty("prepareThreshold", "3");
        db = DriverManager.getConnection("jdbc:postgresql://localhost:" + System.getenv("PORT") + "/shop", options);
        try (PreparedStatement twice = db.prepareStatement("SELECT ?::int * 2")) {
            for (int n = 0; n < 20; n++) {
                twice.setInt(1, n);
                try (ResultSet rows = twice.executeQuery()) {
                    rows.next();
                    check(rows.getInt(1) == 2 * n, "prepared");
                }
            }
        }
        db.setAutoCommit(false);
        insert(1);
        db.rollback();
        check(one("SELECT count(*) FROM driver_rows WHERE driver = 'jdbc'") == 0, "rolled back");
        insert(1);
        db.commit();
        try (Statement cursor = db.createStatement()) {  // a portal with a row limit
            cursor.setFetchSize(50);
            int seen = 0;
            try (ResultSet rows = cursor.executeQuery("SELECT * FROM generate_series(1, 1000)")) {
                while (rows.next()) seen++;
            }
            check(seen == 1000, "cursor");
        }
        check("22012".equals(fails("SELECT 1 / 0")), "division");
        check("25P02".equals(fails("SELECT 1")), "failed block");
        db.rollback();
        db.setAutoCommit(true);
        try (PreparedStatement batch = db.prepareStatement("SELECT ?::int")) {
            batch.setInt(1, 1);
            batch.execute();
        }
        CopyManager copy = db.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder in = new StringBuilder();
        for (int n = 0; n < 1000; n++) in.append("jdbc\t").append(n).append('\n');
        copy.copyIn("COPY driver_rows FROM STDIN", new StringReader(in.toString()));
        StringWriter out = new StringWriter();
        copy.copyOut("COPY (SELECT * FROM driver_rows WHERE driver = 'jdbc') TO STDOUT", out);
        check(out.toString().lines().count() == 1001, "copy");
        try (Statement slow = db.createStatement()) {
            new Thread(() -> {
                try {
                    Thread.sleep(500);
                    slow.cancel();
                } catch (Exception error) {
                    throw new RuntimeException(error);
                }
            }).start();
            try {
                slow.execute("SELECT pg_sleep(30)");
                throw new AssertionError("not cancelled");
            } catch (SQLException error) {
                check("57014".equals(error.getSQLState()), "cancelled: " + error.getSQLState());
            }
        }
        step("restart");
        check(one("SELECT 1") == 1, "after the restart");
        step("seal");
        check(one("SELECT count(*) FROM driver_rows WHERE driver = 'jdbc'") == 1001, "read while sealed");
        check("25006".equals(fails("INSERT INTO driver_rows VALUES ('jdbc', 2)")), "refused");
        step("open");
        insert(2);
        System.out.println("done");
    }
}
